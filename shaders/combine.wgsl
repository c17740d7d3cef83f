// combine: out[t, c] = x[t, c] · gate[t, AT + c];   ADD: out += …;   GATED = 0: without the gate             py_rwkv/kernels/combine.py
// One invocation per (channel, row).
const C: u32 = 256u;
const STRIDE: u32 = 256u;      // of a row of gate
const AT: u32 = 0u;
const ADD: u32 = 0u;
const GATED: u32 = 1u;
const WG: u32 = 64u;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> x: array<f32>;                   // [rows, C]
@group(0) @binding(2) var<storage, read> gate: array<f32>;                // [rows, STRIDE]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;           // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= C) { return; }
    let i = id.y * C + id.x;
    var value = x[i];
    if (GATED == 1u) { value *= gate[id.y * STRIDE + AT + id.x]; }
    if (ADD == 1u) { out[i] += value; } else { out[i] = value; }
}
