// The low-rank functions of RWKV-7: what wkv7_inputs, and wkv7_low in its place, read and calculate with.     py_rwkv/kernels/wkv7_inputs.py
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
// 1 / |κ| of a head, summed by every invocation for itself: N loads cost less than a barrier.
fn key_rate(row: u32, head: u32) -> f32 {
    var square = 0.0;
    for (var n = head; n < head + N; n++) {
        let q = key(row, n) * vectors[3u * C + n];
        square += q * q;
    }
    return 1.0 / max(sqrt(square), 1e-12);
}
