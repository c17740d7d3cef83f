// wkv7_inputs: what the RWKV-7 recurrence needs, from the projections.                                py_rwkv/kernels/wkv7_inputs.py
//   w = exp(−e^(−1/2) σ(w0 + w↓ w2))      decay                     a = σ(a0 + a↓ a2)                   in-context learning rate
//   g = g↓ g2                             gate                      v += (v_first − v) σ(v0 + v↓ v2)    value residual, from layer 1 on
//   κ = normalize(k · k_k) per head       removal key               k ·= 1 + (a − 1) k_a
//   out[t] = w, k, v, −κ, κ·a, g
// One invocation per (channel, row); each recomputes the norm of its head's κ: N loads cost less than a barrier.
const C: u32 = 256u;
const N: u32 = 64u;
const SEGMENT: u32 = 256u;     // C up to a multiple of 16: columns that r, k and v take each
const WIDTH: u32 = 928u;       // of a projected row: r, k, v, then the low-rank w, a, v, g at the columns below
const FIRST: u32 = 0u;         // 1 in layer 0: no value residual; v becomes v_first
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
@group(0) @binding(5) var<storage, read_write> v_first: array<f32>;       // [rows, C]
@group(0) @binding(6) var<storage, read_write> out: array<f32>;           // [rows, 6, C]

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
    let w = exp(-0.6065306597126334 * sigmoid(vectors[c] + up(c, row, W_IN, W_CHUNKS, W_AT, W_SCALE)));
    let a = sigmoid(vectors[C + c] + up(c, row, A_IN, A_CHUNKS, A_AT, A_SCALE));
    let g = up(c, row, G_IN, G_CHUNKS, G_AT, G_SCALE);

    var square = 0.0;
    let head = c / N * N;
    for (var n = head; n < head + N; n++) {
        let q = key(row, n) * vectors[3u * C + n];
        square += q * q;
    }
    let k = key(row, c);
    let kappa = k * vectors[3u * C + c] / max(sqrt(square), 1e-12);

    let i = row * WIDTH + 2u * SEGMENT + c;
    var v = projected[i / 4u][i % 4u];
    if (FIRST == 1u) {
        v_first[row * C + c] = v;
    } else {
        v += (v_first[row * C + c] - v) * sigmoid(vectors[2u * C + c] + up(c, row, V_IN, V_CHUNKS, V_AT, V_SCALE));
    }
    let base = row * 6u * C + c;
    out[base] = w;
    out[base + C] = k * (1.0 + (a - 1.0) * vectors[4u * C + c]);
    out[base + 2u * C] = v;
    out[base + 3u * C] = -kappa;
    out[base + 4u * C] = kappa * a;
    out[base + 5u * C] = g;
}
