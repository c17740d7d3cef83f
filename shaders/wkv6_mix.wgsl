// wkv6_mix: the part of RWKV-6's token shift that depends on the data.                                py_rwkv/kernels/wkv6_mix.py
//   mixed[1 + j, t] += d[t] · (W_j z_j[t])        j = w, k, v, r, g;   d = h[t−1] − h[t] is the last of `mixed`
// One group of LANES invocations per (4 rows of the stacked W, TOKENS tokens); K is a multiple of 16, C of 4.
const TAIL: u32 = 0u;          // 1: K is no multiple of 16
const LANES: u32 = 1u;
const WG: u32 = 64u;
struct Call {
    M: u32,       // 5 C
    C: u32,
    K: u32,
    CHUNKS: u32,
    BLOCKS: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, 5, K] z
@group(0) @binding(4) var<storage, read_write> mixed: array<vec4<f32>>;   // [7, rows, C] x w k v r g d
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.y * (WG / LANES) + local / LANES) * 4u;
    let token = group.x * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let parts = call.M / call.C;
    let source = min(row, call.M - 1u) / call.C;
    let m = Matrix(call.M, call.K / 4u, call.CHUNKS, call.BLOCKS, 0u, 0u);
    accumulate(m, row, (token * parts + source) * (call.K / 4u), parts * (call.K / 4u), tokens, local);
    reduce(local);
    let plane = batch.rows * call.C / 4u;
    let column = row - source * call.C;
    for (var i = local % LANES; i < tokens && row < call.M; i += LANES) {
        let at = ((token + i) * call.C + column) / 4u;
        mixed[(1u + source) * plane + at] += mixed[(1u + parts) * plane + at] * reduced(i, local);
    }
}
