// project: several matrices of the same width in one dispatch, each with its own input and activation.       py_rwkv/kernels/project.py
//   out[t, m] = act_m( Σ_k W[m, k] x[source_m, t, k] )
// The matrices are stacked by rows; `table` says for every 16 rows which of the inputs they read and which activation follows.
const M: u32 = 256u;
const K: u32 = 256u;
const CHUNKS: u32 = 16u;
const BLOCKS: u32 = 4u;
const LANES: u32 = 1u;
const WG: u32 = 64u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [sources, tokens, K]
@group(0) @binding(4) var<storage, read> table: array<vec2<u32>>;         // [M / 16] source, activation
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [tokens, M]
//!include lib/activation.wgsl
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WG / LANES) + local / LANES) * 4u;
    let token = group.y * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let segment = table[min(row, M - 1u) / 16u];
    if (row < M) { accumulate(row, (segment.x * batch.rows + token) * (K / 4u), K / 4u, tokens, lane); }
    reduce(lane, local);
    for (var i = lane; i < 4u * TOKENS; i += LANES) {
        let m = row + i / TOKENS;
        let t = i % TOKENS;
        if (m < M && t < tokens) { out[(token + t) * M + m] = activate(segment.y, reduced(i, local)); }
    }
}
