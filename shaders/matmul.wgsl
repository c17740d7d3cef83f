// matmul: out[t, m] = act( Σ_k W[m, k] x[t, k] ),   out[t, m] += Σ_k W[m, k] x[t, k]                 py_rwkv/kernels/matmul.py
//         or   out[t, m] += x[t, GATE_AT + m] · Σ_k W[m, k] x[t, k]
// One group of LANES invocations per (4 weight rows, TOKENS tokens). `PER_OUTPUT`: the rows of x are the step's outputs (the head), not its rows.
const TAIL: u32 = 0u;          // 1: K is no multiple of 16
const LANES: u32 = 1u;
const WG: u32 = 64u;
struct Call {
    M: u32,           // weight rows
    K: u32,           // columns; weights are stored padded to CHUNKS * 16, with zeros
    CHUNKS: u32,
    BLOCKS: u32,      // scales a row
    ACT: u32,
    ADD: u32,         // 0 store, 1 add, 2 add what passes the gate
    PER_OUTPUT: u32,
    OUT_STRIDE: u32,  // out is [tokens, OUT_STRIDE]; this call fills columns OUT_AT … OUT_AT + M
    OUT_AT: u32,
    X_STRIDE: u32,    // x is [tokens, X_STRIDE], a multiple of 4
    GATE_AT: u32,     // a multiple of 4
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [tokens, X_STRIDE]
//!include lib/write_{write}.wgsl
//!include lib/activation.wgsl
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.y * (WG / LANES) + local / LANES) * 4u;
    let token = group.x * TOKENS;
    let tokens = min(select(batch.rows, batch.outputs, call.PER_OUTPUT != 0u) - token, TOKENS);
    let m = Matrix(call.M, (call.K + 3u) / 4u, call.CHUNKS, call.BLOCKS, 0u, 0u);
    accumulate(m, row, token * (call.X_STRIDE / 4u), call.X_STRIDE / 4u, tokens, local);
    reduce(local);
    for (var i = local % LANES; i < tokens && row < call.M; i += LANES) {
        let at = (token + i) * call.OUT_STRIDE + call.OUT_AT + row;
        var value = reduced(i, local);
        if (call.ADD == 2u) { value *= x[((token + i) * call.X_STRIDE + call.GATE_AT + row) / 4u]; }
        if (call.ADD == 0u) { put(at, call.M - row, activate(call.ACT, value)); } else { add(at, call.M - row, value); }
    }
}
