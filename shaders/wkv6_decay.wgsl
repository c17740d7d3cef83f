// wkv6_decay: RWKV-6's decay of every channel at every row.                                           py_rwkv/kernels/wkv6_decay.py
//   out[t, c] = exp(−exp(bias[c] + Σ_k W[c, k] x[t, X_AT + k]))
// One group of LANES invocations per (4 channels, TOKENS tokens); K is a multiple of 16.
const TAIL: u32 = 0u;          // 1: K is no multiple of 16
const LANES: u32 = 1u;
const WG: u32 = 64u;
struct Call {
    M: u32,       // channels
    K: u32,
    CHUNKS: u32,
    BLOCKS: u32,
    WIDTH: u32,   // of a row of x
    X_AT: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, WIDTH]
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;          // [C]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;     // [rows, C]
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.y * (WG / LANES) + local / LANES) * 4u;
    let token = group.x * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let m = Matrix(call.M, call.K / 4u, call.CHUNKS, call.BLOCKS, 0u, 0u);
    accumulate(m, row, (token * call.WIDTH + call.X_AT) / 4u, call.WIDTH / 4u, tokens, local);
    reduce(local);
    for (var i = local % LANES; i < tokens && row < call.M; i += LANES) {
        out[((token + i) * call.M + row) / 4u] = exp(-exp(min(bias[row / 4u] + reduced(i, local), vec4<f32>(80.0))));
    }
}
