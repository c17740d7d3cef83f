// group_norm: out = (y − mean) / √(variance + EPS) · gain + bias per head of N channels.                 py_rwkv/kernels/group_norm.py
// One invocation per (channel, row); each computes its head's statistics.
const N: u32 = 64u;
const WG: u32 = 64u;
struct Call {
    C: u32,
    GAIN: u32,  // row of `vectors`; the bias follows
    EPS: f32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> y: array<f32>;                   // [rows, C]
@group(0) @binding(2) var<storage, read> vectors: array<f32>;             // [rows of vectors, C]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;           // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    if (c >= call.C) { return; }
    let head = id.y * call.C + c / N * N;
    var mean = 0.0;
    for (var n = head; n < head + N; n++) { mean += y[n]; }
    mean /= f32(N);
    var square = 0.0;
    for (var n = head; n < head + N; n++) { square += (y[n] - mean) * (y[n] - mean); }
    let i = id.y * call.C + c;
    out[i] = (y[i] - mean) * inverseSqrt(square / f32(N) + call.EPS) * vectors[call.GAIN * call.C + c] + vectors[(call.GAIN + 1u) * call.C + c];
}
