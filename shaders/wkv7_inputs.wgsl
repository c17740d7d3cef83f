// wkv7_inputs: what the RWKV-7 recurrence needs, from the projections.                                py_rwkv/kernels/wkv7_inputs.py
//   w = exp(−e^(−1/2) σ(w0 + w↓ w2))      decay                     a = σ(a0 + a↓ a2)                   in-context learning rate
//   g = g↓ g2                             gate                      v += (v_first − v) σ(v0 + v↓ v2)    value residual, from layer 1 on
//   κ = normalize(k · k_k) per head       removal key               k ·= 1 + (a − 1) k_a
//   out[t] = w, k, v, −κ, κ·a, g
// One invocation per (channel, row).
//!include lib/wkv7_up.wgsl
@group(0) @binding(5) var<storage, read_write> v_first: array<f32>;       // [rows, C]
@group(0) @binding(6) var<storage, read_write> out: array<f32>;           // [rows, 6, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;
    let row = group.y;
    if (c >= call.C) { return; }
    let low = ups(c, row);
    let share = 1.0 / (1.0 + exp(-(low.xyz + vec3<f32>(vectors[c], vectors[call.C + c], vectors[2u * call.C + c]))));
    let w = exp(-0.6065306597126334 * share.x);
    let a = share.y;

    let k = key(row, c);
    let kappa = k * vectors[3u * call.C + c] * key_rate(row, c / N * N);

    let i = row * call.WIDTH + 2u * call.SEGMENT + c;
    var v = projected[i / 4u][i % 4u];
    if (call.FIRST == 1u) {
        v_first[row * call.C + c] = v;
    } else {
        v += (v_first[row * call.C + c] - v) * share.z;
    }
    let base = row * 6u * call.C + c;
    out[base] = w;
    out[base + call.C] = k * (1.0 + (a - 1.0) * vectors[4u * call.C + c]);
    out[base + 2u * call.C] = v;
    out[base + 3u * call.C] = -kappa;
    out[base + 4u * call.C] = kappa * a;
    out[base + 5u * call.C] = low.w;
}
