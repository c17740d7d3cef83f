// wkv7: the RWKV-7 recurrence over every row of every run, state on chip in between.                  py_rwkv/kernels/wkv7.py
//   S ← S diag(w) + (S a) bᵀ + v kᵀ;   y = S r          S[value, key] per head; rows of S are independent
// One invocation per (ROWS rows of one head's state, run).
const C: u32 = 256u;
const N: u32 = 64u;
const WIDTH: u32 = 928u;       // of a projected row; r is its first C columns
const ROWS: u32 = 4u;
const WG: u32 = 64u;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> inputs: array<vec4<f32>>;        // [rows, 6, C] w k v a b g
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;   // [slots, C / N, N value, N key]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;             // [rows, C]
const N4: u32 = N / 4u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = (group.x * WG + local) * ROWS;  // first of ROWS value channels, all in one head
    if (c >= C) { return; }
    let head4 = c / N * N4;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    let at = (run.slot * C + c) * N4;
    var s: array<vec4<f32>, ROWS * N4>;
    for (var i = 0u; i < ROWS * N4; i++) { s[i] = state[at + i]; }
    for (var row = first; row <= run.last; row++) {
        let base_in = row * 6u * (C / 4u) + head4;
        let r_at = row * (WIDTH / 4u) + head4;
        for (var j = 0u; j < ROWS; j++) {
            let v_at = (row * 6u + 2u) * C + c + j;
            let v = inputs[v_at / 4u][v_at % 4u];
            var sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) { sum += s[j * N4 + n] * inputs[base_in + 3u * (C / 4u) + n]; }
            let sa = dot(sum, vec4<f32>(1.0));
            var out = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) {
                let next = s[j * N4 + n] * inputs[base_in + n] + sa * inputs[base_in + 4u * (C / 4u) + n] + v * inputs[base_in + C / 4u + n];
                s[j * N4 + n] = next;
                out += next * projected[r_at + n];
            }
            y[row * C + c + j] = dot(out, vec4<f32>(1.0));
        }
    }
    for (var i = 0u; i < ROWS * N4; i++) { state[at + i] = s[i]; }
}
