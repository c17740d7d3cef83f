// wkv7_low: the low-rank functions and the removal key of wkv7_inputs by themselves; wkv7_join does the rest.     py_rwkv/kernels/wkv7_low.py
//   w = exp(−e^(−1/2) σ(w0 + w↓ w2))      decay                     a = σ(a0 + a↓ a2)                   in-context learning rate
//   m = σ(v0 + v↓ v2)                     share of v_first          g = g↓ g2                           gate
//   κ = normalize(k · k_k) per head       removal key
//   out[t] = w, a, m, κ, g
// One invocation per (channel, row).
//!include lib/wkv7_up.wgsl
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, 5, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;
    let row = group.y;
    if (c >= C) { return; }
    let base = row * 5u * C + c;
    out[base] = exp(-0.6065306597126334 * sigmoid(vectors[c] + up(c, row, W_IN, W_CHUNKS, W_AT, W_SCALE)));
    out[base + C] = sigmoid(vectors[C + c] + up(c, row, A_IN, A_CHUNKS, A_AT, A_SCALE));
    if (FIRST == 0u) { out[base + 2u * C] = sigmoid(vectors[2u * C + c] + up(c, row, V_IN, V_CHUNKS, V_AT, V_SCALE)); }
    else { out[base + 2u * C] = 0.0; }
    out[base + 3u * C] = key(row, c) * vectors[3u * C + c] * key_rate(row, c / N * N);
    out[base + 4u * C] = up(c, row, G_IN, G_CHUNKS, G_AT, G_SCALE);
}
