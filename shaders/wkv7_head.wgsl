// wkv7_head: the RWKV-7 recurrence of one head, group norm of its output, bonus and gate.             py_rwkv/kernels/wkv7_head.py
//   S ← S diag(w) + (S a) bᵀ + v kᵀ;   y = S r;   out = (GN(y) + (Σ_n r k r_k) v) · g        S[value, key]
// What `wkv7` and `wkv7_gate` do in two dispatches, with y on chip in between.
const N: u32 = 64u;
const WG: u32 = 64u;
struct Call {
    C: u32,
    WIDTH: u32,  // of a projected row; r is its first C columns
    EPS: f32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> inputs: array<vec4<f32>>;        // [rows, 6, C] w k v a b g
@group(0) @binding(3) var<storage, read> vectors: array<vec4<f32>>;       // [8, C] w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;   // [slots, C / N, N value, N key]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;           // [rows, C]
const N4: u32 = N / 4u;

fn input(row: u32, kind: u32, c: u32) -> f32 {
    let i = (row * 6u + kind) * call.C + c;
    return inputs[i / 4u][i % 4u];
}
fn vector(kind: u32, c: u32) -> f32 {
    let i = kind * call.C + c;
    return vectors[i / 4u][i % 4u];
}
fn gated(row: u32, c: u32, normed: f32, bonus: f32) -> f32 {
    return (normed * vector(6u, c) + vector(7u, c) + bonus * input(row, 2u, c)) * input(row, 5u, c);
}
//!include lib/wkv7_head_{reduce}.wgsl
