// wkv6: the recurrence of RWKV-5 and RWKV-6 over every row of every run, its group norm and its gate.       py_rwkv/kernels/wkv6.py
//   y = (S + (u k) vᵀ)ᵀ r;   S ← diag(w) S + k vᵀ;   out = GN(y) · g       S[key, value] per head; w for all rows (V5) or for each (V6)
// One group of LANES invocations per (head, run); a lane takes every LANES-th quad of values. A few keys at a time stay on chip while all rows
// pass; y collects their parts.
const N: u32 = 64u;
const LANES: u32 = 1u;
const WG: u32 = 4u;
struct Call {
    C: u32,
    WIDTH: u32,    // of a projected row: r, k, v, g
    SEGMENT: u32,  // columns from one to the next
    DYNAMIC: u32,  // 1: decay is [rows, C], 0: [1, C]
    GATED: u32,
    EPS: f32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> decay: array<vec4<f32>>;         // [rows or 1, C] w
@group(0) @binding(3) var<storage, read> vectors: array<vec4<f32>>;       // [3, C] u, ln_x.weight, ln_x.bias
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;   // [slots, C / N, N key, N value]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;       // [rows, C]
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;     // [rows, C]
const N4: u32 = N / 4u;
//!include lib/keys_{keys}.wgsl
//!include lib/join_{reduce}.wgsl

fn recur(head: u32, lane: u32, quad: u32, first: u32, run: Entry) {
    var sum = vec4<f32>(0.0);
    for (var key = 0u; key < N4; key += KEYS4) {
        let at = (run.slot * call.C + head * N + key * 4u) * N4 + quad;
        hold(at);
        for (var row = first; row <= run.last; row++) {
            let i = row * (call.C / 4u) + head * N4 + quad;
            if (key == 0u) { sum = vec4<f32>(0.0); } else if (first != run.last) { sum = y[i]; }  // a lone row's sum stays in its register
            sum += advance(row, head * N4 + key, projected[row * (call.WIDTH / 4u) + 2u * (call.SEGMENT / 4u) + head * N4 + quad], lane);
            y[i] = sum;
        }
        release(at);
    }
}
fn finish(head: u32, lane: u32, row: u32) {
    let base = row * (call.C / 4u) + head * N4;
    var sum = vec4<f32>(0.0);
    for (var n = first_quad(lane); n < N4; n += NEXT_QUAD) { sum += y[base + n]; }
    let mean = total(dot(sum, vec4<f32>(1.0))) / f32(N);
    var square = vec4<f32>(0.0);
    for (var n = first_quad(lane); n < N4; n += NEXT_QUAD) {
        let d = y[base + n] - mean;
        square += d * d;
    }
    let rate = inverseSqrt(total(dot(square, vec4<f32>(1.0))) / f32(N) + call.EPS);
    for (var n = lane; n < N4; n += LANES) {
        let c = head * N4 + n;
        var value = (y[base + n] - mean) * rate * vectors[(call.C / 4u) + c] + vectors[2u * (call.C / 4u) + c];
        if (call.GATED == 1u) { value *= projected[row * (call.WIDTH / 4u) + 3u * (call.SEGMENT / 4u) + c]; }
        out[base + n] = value;
    }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = head_of(group.x, local);
    let lane = local % LANES;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    if (head < call.C / N) { recur_all(head, lane, first, run); }
    join();
    if (head < call.C / N) {
        for (var row = first; row <= run.last; row++) { finish(head, lane, row); }
    }
}
