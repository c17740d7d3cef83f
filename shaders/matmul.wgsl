// matmul: out[t, m] = act( Σ_k W[m, k] x[t, k] ),   out[t, m] += Σ_k W[m, k] x[t, k]                 py_rwkv/kernels/matmul.py
//         or   out[t, m] += x[t, GATE_AT + m] · Σ_k W[m, k] x[t, k]
// One group of LANES invocations per (4 weight rows, TOKENS tokens). `PER_OUTPUT`: the rows of x are the step's outputs (the head), not its rows.
const M: u32 = 256u;          // weight rows
const K: u32 = 256u;          // columns, a multiple of 4; stored padded to CHUNKS * 16
const CHUNKS: u32 = 16u;
const BLOCKS: u32 = 4u;       // scales a row
const LANES: u32 = 1u;
const WG: u32 = 64u;
const ACT: u32 = 0u;
const ADD: u32 = 0u;          // 0 store, 1 add, 2 add what passes the gate
const PER_OUTPUT: u32 = 0u;
const OUT_STRIDE: u32 = 256u; // out is [tokens, OUT_STRIDE]; this call fills columns OUT_AT … OUT_AT + M
const OUT_AT: u32 = 0u;
const X_STRIDE: u32 = 256u;   // x is [tokens, X_STRIDE], a multiple of 4
const GATE_AT: u32 = 0u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [tokens, X_STRIDE]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
//!include lib/activation.wgsl
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % LANES;
    let row = (group.x * (WG / LANES) + local / LANES) * 4u;
    let token = group.y * TOKENS;
    let tokens = min(select(batch.rows, batch.outputs, PER_OUTPUT == 1u) - token, TOKENS);
    if (row < M) { accumulate(row, token * (X_STRIDE / 4u), X_STRIDE / 4u, tokens, lane); }
    reduce(lane, local);
    for (var i = lane; i < 4u * TOKENS; i += LANES) {
        let m = row + i / TOKENS;
        let t = i % TOKENS;
        if (m >= M || t >= tokens) { continue; }
        let at = (token + t) * OUT_STRIDE + OUT_AT + m;
        var value = reduced(i, local);
        if (ADD == 2u) {
            let gate = (token + t) * X_STRIDE + GATE_AT + m;
            value *= x[gate / 4u][gate % 4u];
        }
        if (ADD == 0u) { out[at] = activate(ACT, value); } else { out[at] += value; }
    }
}
