// combine: out[t, c] = x[t, c] · gate[t, AT + c];   ADD: out += …;   GATED = 0: without the gate             py_rwkv/kernels/combine.py
// One invocation per (channel, row).
const WG: u32 = 64u;
struct Call {
    C: u32,
    STRIDE: u32,  // of a row of gate
    AT: u32,
    ADD: u32,
    GATED: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> x: array<f32>;                   // [rows, C]
@group(0) @binding(2) var<storage, read> gate: array<f32>;                // [rows, STRIDE]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;           // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= call.C) { return; }
    let i = id.y * call.C + id.x;
    var value = x[i];
    if (call.GATED == 1u) { value *= gate[id.y * call.STRIDE + call.AT + id.x]; }
    if (call.ADD == 1u) { out[i] += value; } else { out[i] = value; }
}
