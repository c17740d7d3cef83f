// wkv7_gate: group norm of the recurrence's output, the bonus of the current token, and the gate.     py_rwkv/kernels/wkv7_gate.py
//   out = (GN(y) + (Σ_n r k r_k) v) · g        per head of N channels; k and v as wkv7_inputs left them
// One invocation per (PER channels of one head, row).
const N: u32 = 64u;
const PER: u32 = 16u;
const WG: u32 = 16u;
struct Call {
    C: u32,
    WIDTH: u32,
    EPS: f32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<f32>;           // [rows, WIDTH] r first
@group(0) @binding(2) var<storage, read> inputs: array<f32>;              // [rows, 6, C] w k v a b g
@group(0) @binding(3) var<storage, read> vectors: array<f32>;             // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias
@group(0) @binding(4) var<storage, read> y: array<f32>;                   // [rows, C]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let channel = (group.x * WG + local) * PER;
    let row = group.y;
    if (channel >= call.C) { return; }
    let head = channel / N * N;
    let base_in = row * 6u * call.C;
    var mean = 0.0;
    var bonus = 0.0;
    for (var n = head; n < head + N; n++) {
        mean += y[row * call.C + n];
        bonus += projected[row * call.WIDTH + n] * inputs[base_in + call.C + n] * vectors[5u * call.C + n];
    }
    mean /= f32(N);
    var square = 0.0;
    for (var n = head; n < head + N; n++) {
        let d = y[row * call.C + n] - mean;
        square += d * d;
    }
    let rate = inverseSqrt(square / f32(N) + call.EPS);
    for (var c = channel; c < channel + PER; c++) {
        let normed = (y[row * call.C + c] - mean) * rate * vectors[6u * call.C + c] + vectors[7u * call.C + c];
        out[row * call.C + c] = (normed + bonus * inputs[base_in + 2u * call.C + c]) * inputs[base_in + 5u * call.C + c];
    }
}
