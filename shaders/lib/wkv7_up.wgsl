// The low-rank functions of RWKV-7, as wkv7_inputs reads and calculates with them.     py_rwkv/kernels/wkv7_inputs.py
const N: u32 = 64u;
const WG: u32 = 64u;
//!include lib/wkv7_call.wgsl
@group(0) @binding(3) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(4) var<storage, read> vectors: array<f32>;             // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias

// Row c of a low-rank matrix times the row's activations, which start at column `column`.
fn up(c: u32, row: u32, column: u32, chunks: u32, at: u32, scale_at: u32) -> f32 {
    let blocks = (chunks + 1u) / 2u;
    var sum = 0.0;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let about = facts(scale_at + c * blocks + chunk / 2u);
        let w = load16(at + c * chunks + chunk, about);
        let i = (row * call.WIDTH + column) / 4u + chunk * 4u;
        let part = dot(w[0], projected[i]) + dot(w[1], projected[i + 1u]) + dot(w[2], projected[i + 2u]) + dot(w[3], projected[i + 3u]);
        sum += part * scale(about);
    }
    return sum;
}
fn sigmoid(v: f32) -> f32 { return 1.0 / (1.0 + exp(-v)); }
fn key(row: u32, c: u32) -> f32 {
    let i = row * call.WIDTH + call.SEGMENT + c;
    return projected[i / 4u][i % 4u];
}
// 1 / |κ| of a head, summed by every invocation for itself: N loads cost less than a barrier.
fn key_rate(row: u32, head: u32) -> f32 {
    var square = 0.0;
    for (var n = head; n < head + N; n++) {
        let q = key(row, n) * vectors[3u * call.C + n];
        square += q * q;
    }
    return 1.0 / max(sqrt(square), 1e-12);
}
