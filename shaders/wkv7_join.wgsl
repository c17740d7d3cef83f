// wkv7_join: the inputs of the recurrence from the projections and what wkv7_low left.                       py_rwkv/kernels/wkv7_low.py
//   v += (v_first − v) m;   k ·= 1 + (a − 1) k_a;   out[t] = w, k, v, −κ, κ·a, g
// One invocation per (channel, row).
const WG: u32 = 64u;
struct Call {
    C: u32,
    SEGMENT: u32,  // columns from r to k, and from k to v
    WIDTH: u32,    // of a projected row
    FIRST: u32,    // 1 in layer 0: v becomes v_first
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<f32>;           // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> vectors: array<f32>;             // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias
@group(0) @binding(3) var<storage, read> low: array<f32>;                 // [rows, 5, C] w a m κ g
@group(0) @binding(4) var<storage, read_write> v_first: array<f32>;       // [rows, C]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, 6, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;
    let row = group.y;
    if (c >= call.C) { return; }
    let i = row * 5u * call.C + c;
    let a = low[i + call.C];
    let kappa = low[i + 3u * call.C];
    var v = projected[row * call.WIDTH + 2u * call.SEGMENT + c];
    if (call.FIRST == 1u) { v_first[row * call.C + c] = v; } else { v += (v_first[row * call.C + c] - v) * low[i + 2u * call.C]; }
    let base = row * 6u * call.C + c;
    out[base] = low[i];
    out[base + call.C] = projected[row * call.WIDTH + call.SEGMENT + c] * (1.0 + (a - 1.0) * vectors[4u * call.C + c]);
    out[base + 2u * call.C] = v;
    out[base + 3u * call.C] = -kappa;
    out[base + 4u * call.C] = kappa * a;
    out[base + 5u * call.C] = low[i + 4u * call.C];
}
