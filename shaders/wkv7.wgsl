// wkv7: the RWKV-7 recurrence over every row of every run, state on chip in between.                  py_rwkv/kernels/wkv7.py
//   S ← S diag(w) + (S a) bᵀ + v kᵀ;   y = S r          S[value, key] per head; rows of S are independent
const N: u32 = 64u;
const ROWS: u32 = 4u;
const WG: u32 = 64u;
struct Call {
    C: u32,
    WIDTH: u32,  // of a projected row; r is its first C columns
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> inputs: array<vec4<f32>>;        // [rows, 6, C] w k v a b g
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;   // [slots, C / N, N value, N key]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;             // [rows, C]
const N4: u32 = N / 4u;

//!include lib/wkv7_state_{share}.wgsl
