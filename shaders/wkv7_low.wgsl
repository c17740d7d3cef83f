// wkv7_low: the low-rank functions and the removal key of wkv7_inputs by themselves; wkv7_join does the rest.     py_rwkv/kernels/wkv7_low.py
//   w = exp(−e^(−1/2) σ(w0 + w↓ w2))      decay                     a = σ(a0 + a↓ a2)                   in-context learning rate
//   m = σ(v0 + v↓ v2)                     share of v_first          g = g↓ g2                           gate
//   κ = normalize(k · k_k) per head       removal key
//   out[t] = w, a, m, κ, g
// One group of LANES invocations per (4 channels of one of the five, TOKENS tokens): each decoded weight serves all of them. N is a multiple of 4 · SHARE.
const N: u32 = 64u;
const WG: u32 = 64u;
const LANES: u32 = 1u;
const TAIL: u32 = 0u;
const TILES: u32 = WG / LANES;
//!include lib/wkv7_call.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, WIDTH] projected
@group(0) @binding(4) var<storage, read> vectors: array<vec4<f32>>;       // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;     // [rows, 5, C]
//!include lib/tile_{tile}.wgsl
//!include lib/reduce_{reduce}.wgsl

// 1 / |κ| of a head.
fn key_rate(row: u32, head: u32, local: u32) -> f32 {
    let keys = (row * call.WIDTH + call.SEGMENT + head) / 4u;
    let gains = (3u * call.C + head) / 4u;
    var square = vec4<f32>(0.0);
    for (var n = local % SHARE; n < N / 4u; n += SHARE) {
        let q = x[keys + n] * vectors[gains + n];
        square += q * q;
    }
    return 1.0 / max(sqrt(shared_sum(dot(square, vec4<f32>(1.0)))), 1e-12);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let groups = (call.C / 4u + TILES - 1u) / TILES;
    let kind = group.x / groups;
    let c = (group.x % groups * TILES + local / LANES) * 4u;
    let token = group.y * TOKENS;
    let tokens = min(batch.rows - token, TOKENS);
    let p = place(kind);
    let m = Matrix(call.C, p.y * 4u, p.y, (p.y + 1u) / 2u, p.z, p.w);
    accumulate(m, c, (token * call.WIDTH + p.x) / 4u, call.WIDTH / 4u, tokens, local);
    reduce(local);
    let channel = min(c, call.C - 4u);
    let bias = vectors[(min(kind, 3u) * call.C + channel) / 4u];
    for (var t = first_chunk(local); t < tokens; t += LANES) {
        let row = token + t;
        var value = reduced(t, local);
        if (kind < 3u) { value = 1.0 / (1.0 + exp(-(bias + value))); }
        if (kind == 0u) { value = exp(-0.6065306597126334 * value); }
        if (kind == 2u && call.FIRST == 1u) { value = vec4<f32>(0.0); }
        if (kind == 3u) { value = x[(row * call.WIDTH + call.SEGMENT + channel) / 4u] * bias * key_rate(row, channel / N * N, local); }
        if (c < call.C) { out[((row * 5u + kind) * call.C + c) / 4u] = value; }
    }
}
