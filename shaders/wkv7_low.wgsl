// wkv7_low: the low-rank functions and the removal key of wkv7_inputs by themselves; wkv7_join does the rest.     py_rwkv/kernels/wkv7_low.py
//   w = exp(−e^(−1/2) σ(w0 + w↓ w2))      decay                     a = σ(a0 + a↓ a2)                   in-context learning rate
//   m = σ(v0 + v↓ v2)                     share of v_first          g = g↓ g2                           gate
//   κ = normalize(k · k_k) per head       removal key
//   out[t] = w, a, m, κ, g
// One invocation per (channel, row).
const C: u32 = 256u;
const N: u32 = 64u;
const SEGMENT: u32 = 256u;     // C up to a multiple of 16: columns that r, k and v take each
const WIDTH: u32 = 928u;       // of a projected row: r, k, v, then the low-rank w, a, v, g at the columns below
const FIRST: u32 = 0u;         // 1 in layer 0: no value residual
const WG: u32 = 64u;
const W_IN: u32 = 768u;
const A_IN: u32 = 800u;
const V_IN: u32 = 832u;
const G_IN: u32 = 864u;
const W_CHUNKS: u32 = 2u;      // 16-column chunks of a row of w2, a2, v2, g2, and where each matrix starts, in chunks
const A_CHUNKS: u32 = 2u;
const V_CHUNKS: u32 = 2u;
const G_CHUNKS: u32 = 4u;
const W_AT: u32 = 0u;
const A_AT: u32 = 512u;
const V_AT: u32 = 1024u;
const G_AT: u32 = 1536u;
const W_SCALE: u32 = 0u;       // where each matrix's scales start
const A_SCALE: u32 = 256u;
const V_SCALE: u32 = 512u;
const G_SCALE: u32 = 768u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(4) var<storage, read> vectors: array<f32>;             // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, 5, C]

// Row c of a low-rank matrix times the row's activations, which start at column `column`.
fn up(c: u32, row: u32, column: u32, chunks: u32, at: u32, scale_at: u32) -> f32 {
    let blocks = (chunks + 1u) / 2u;
    var sum = 0.0;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let block = scale_at + c * blocks + chunk / 2u;
        let w = load16(at + c * chunks + chunk, block);
        let i = (row * WIDTH + column) / 4u + chunk * 4u;
        let part = dot(w[0], projected[i]) + dot(w[1], projected[i + 1u]) + dot(w[2], projected[i + 2u]) + dot(w[3], projected[i + 3u]);
        sum += part * load_scale(block);
    }
    return sum;
}
fn sigmoid(v: f32) -> f32 { return 1.0 / (1.0 + exp(-v)); }
fn key(row: u32, c: u32) -> f32 {
    let i = row * WIDTH + SEGMENT + c;
    return projected[i / 4u][i % 4u];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;
    let row = group.y;
    if (c >= C) { return; }
    var square = 0.0;
    let head = c / N * N;
    for (var n = head; n < head + N; n++) {
        let q = key(row, n) * vectors[3u * C + n];
        square += q * q;
    }
    let base = row * 5u * C + c;
    out[base] = exp(-0.6065306597126334 * sigmoid(vectors[c] + up(c, row, W_IN, W_CHUNKS, W_AT, W_SCALE)));
    out[base + C] = sigmoid(vectors[C + c] + up(c, row, A_IN, A_CHUNKS, A_AT, A_SCALE));
    if (FIRST == 0u) { out[base + 2u * C] = sigmoid(vectors[2u * C + c] + up(c, row, V_IN, V_CHUNKS, V_AT, V_SCALE)); }
    else { out[base + 2u * C] = 0.0; }
    out[base + 3u * C] = key(row, c) * vectors[3u * C + c] / max(sqrt(square), 1e-12);
    out[base + 4u * C] = up(c, row, G_IN, G_CHUNKS, G_AT, G_SCALE);
}
