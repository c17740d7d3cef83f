// wkv6_mix: the part of RWKV-6's token shift that depends on the data.                                py_rwkv/kernels/wkv6_mix.py
//   mixed[1 + j, t] += d[t] · (W_j z_j[t])        j = w, k, v, r, g;   d = h[t−1] − h[t] is the last of `mixed`
// One group of LANES invocations per (4 rows of the stacked W, TOKENS tokens); K is a multiple of 16, C of 4.
const M: u32 = 1280u;          // 5 C
const C: u32 = 256u;
const K: u32 = 32u;
const CHUNKS: u32 = 2u;
const BLOCKS: u32 = 1u;
const LANES: u32 = 1u;
const WG: u32 = 64u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, 5, K] z
@group(0) @binding(4) var<storage, read_write> mixed: array<f32>;         // [7, rows, C] x w k v r g d
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WG / LANES) + local / LANES) * 4u;
    let token = group.y * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let source = row / C;
    if (row < M) { accumulate(row, (token * (M / C) + source) * (K / 4u), M / C * (K / 4u), tokens, lane); }
    reduce(lane, local);
    for (var i = lane; i < 4u * TOKENS; i += LANES) {
        let m = row + i / TOKENS;
        let t = i % TOKENS;
        if (m >= M || t >= tokens) { continue; }
        let at = (token + t) * C + m % C;
        mixed[(1u + source) * batch.rows * C + at] += mixed[(1u + M / C) * batch.rows * C + at] * reduced(i, local);
    }
}
