// wkv6_decay: RWKV-6's decay of every channel at every row.                                           py_rwkv/kernels/wkv6_decay.py
//   out[t, c] = exp(−exp(bias[c] + Σ_k W[c, k] x[t, X_AT + k]))
// One group of LANES invocations per (4 channels, TOKENS tokens); K is a multiple of 16.
const M: u32 = 256u;           // channels
const K: u32 = 64u;
const CHUNKS: u32 = 4u;
const BLOCKS: u32 = 1u;
const LANES: u32 = 1u;
const WG: u32 = 64u;
const WIDTH: u32 = 1088u;      // of a row of x
const X_AT: u32 = 1024u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, WIDTH]
@group(0) @binding(4) var<storage, read> bias: array<f32>;                // [C]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, C]
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WG / LANES) + local / LANES) * 4u;
    let token = group.y * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    if (row < M) { accumulate(row, (token * WIDTH + X_AT) / 4u, WIDTH / 4u, tokens, lane); }
    reduce(lane, local);
    for (var i = lane; i < 4u * TOKENS; i += LANES) {
        let m = row + i / TOKENS;
        let t = i % TOKENS;
        if (m < M && t < tokens) { out[(token + t) * M + m] = exp(-exp(min(bias[m] + reduced(i, local), 80.0))); }
    }
}
