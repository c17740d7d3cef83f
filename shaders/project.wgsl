// project: several matrices of the same width in one dispatch, each with its own input and activation.       py_rwkv/kernels/project.py
//   out[t, m] = act_m( Σ_k W[m, k] x[source_m, t, k] )
// The matrices are stacked by rows; `table` says for every 16 rows which of the inputs they read and which activation follows.
const TAIL: u32 = 0u;          // 1: K is no multiple of 16
const LANES: u32 = 1u;
const WG: u32 = 64u;
struct Call {
    M: u32,
    K: u32,
    CHUNKS: u32,
    BLOCKS: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [sources, tokens, K]
@group(0) @binding(4) var<storage, read> table: array<vec2<u32>>;         // [M / 16] source, activation
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;     // [tokens, M]
//!include lib/activation.wgsl
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.y * (WG / LANES) + local / LANES) * 4u;
    let token = group.x * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let segment = table[min(row, call.M - 1u) / 16u];
    let m = Matrix(call.M, call.K / 4u, call.CHUNKS, call.BLOCKS, 0u, 0u);
    accumulate(m, row, (segment.x * batch.rows + token) * (call.K / 4u), call.K / 4u, tokens, local);
    reduce(local);
    for (var i = local % LANES; i < tokens && row < call.M; i += LANES) {
        out[((token + i) * call.M + row) / 4u] = activate(segment.y, reduced(i, local));
    }
}
