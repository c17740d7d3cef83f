// The low-rank functions of RWKV-7, as wkv7_inputs reads and calculates with them.     py_rwkv/kernels/wkv7_inputs.py
const N: u32 = 64u;
const WG: u32 = 64u;
//!include lib/wkv7_call.wgsl
@group(0) @binding(3) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(4) var<storage, read> vectors: array<f32>;             // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias

// Row c of a low-rank matrix times the row's activations. `p`: its `place`.
fn up(c: u32, row: u32, p: vec4<u32>) -> f32 {
    let blocks = (p.y + 1u) / 2u;
    var sum = 0.0;
    for (var chunk = 0u; chunk < p.y; chunk++) {
        let about = facts(p.w + c * blocks + chunk / 2u);
        let w = load16(p.z + c * p.y + chunk, about);
        let i = (row * call.WIDTH + p.x) / 4u + chunk * 4u;
        let part = dot(w[0], projected[i]) + dot(w[1], projected[i + 1u]) + dot(w[2], projected[i + 2u]) + dot(w[3], projected[i + 3u]);
        sum += part * scale(about);
    }
    return sum;
}
// W, A, V and G times the activations: a loop, as SwiftShader compiles what a function does for each time it is called.
fn ups(c: u32, row: u32) -> vec4<f32> {
    var parts = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) { parts = vec4<f32>(parts.yzw, up(c, row, place(i + i / 3u))); }
    return parts;
}
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
