// spread: out[t, v] = x[t, rows[v]]: every row's logit, from a head whose repeated rows are stored and multiplied once.     py_rwkv/kernels/spread.py
// One invocation per (v, output).
const WG: u32 = 64u;
struct Call {
    V: u32,
    U: u32,      // columns of x
    WORDS: u32,
    BITS: u32,   // of an entry of rows: 16 or 32
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> x: array<f32>;                   // [outputs, U]
@group(0) @binding(2) var<storage, read> rows: array<u32>;                // [V] entries
@group(0) @binding(3) var<storage, read_write> out: array<f32>;           // [outputs, V]
//!include lib/row_index.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= call.V) { return; }
    out[id.y * call.V + id.x] = x[id.y * call.U + stored_row(id.x)];
}
