// wkv4: the RWKV-4 recurrence over every row of every run, gated by the receptance.                   py_rwkv/kernels/wkv4.py
//   y = (e^p aa + e^(u+k) v) / (e^p bb + e^(u+k));   aa ← e^(p+w) aa + e^k v,   bb ← e^(p+w) bb + e^k;   out = r · y;   w = −e^time_decay
// aa and bb are kept divided by e^p, p being the largest exponent so far, so nothing overflows. bb ≥ 1 from the first token on:
// bb = 0 marks a fresh slot, whose p counts as −1e30.
// One invocation per (4 channels, run).
const WG: u32 = 16u;
struct Call {
    C: u32,
    WIDTH: u32,    // of a projected row: r (after its sigmoid), k, v
    SEGMENT: u32,  // columns from r to k, and from k to v
    GATED: u32,    // 0: out = y
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>;     // [rows, WIDTH]
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;       // [2, C] time_decay, time_first
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;   // [slots, 3, C] aa, bb, p
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;     // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;
    if (c >= (call.C / 4u)) { return; }
    let w = -exp(min(vectors[c], vec4<f32>(80.0)));
    let u = vectors[(call.C / 4u) + c];
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    let at = run.slot * 3u * (call.C / 4u) + c;
    var aa = state[at];
    var bb = state[at + (call.C / 4u)];
    var p = select(state[at + 2u * (call.C / 4u)], vec4<f32>(-1e30), bb == vec4<f32>(0.0));
    for (var row = first; row <= run.last; row++) {
        let base = row * (call.WIDTH / 4u) + c;
        let k = projected[base + call.SEGMENT / 4u];
        let v = projected[base + 2u * (call.SEGMENT / 4u)];
        var q = max(p, u + k);
        var old = exp(p - q);
        var now = exp(u + k - q);
        let y = (old * aa + now * v) / (old * bb + now);
        if (call.GATED == 1u) { out[row * (call.C / 4u) + c] = projected[base] * y; } else { out[row * (call.C / 4u) + c] = y; }
        q = max(p + w, k);
        old = exp(p + w - q);
        now = exp(k - q);
        aa = old * aa + now * v;
        bb = old * bb + now;
        p = q;
    }
    state[at] = aa;
    state[at + (call.C / 4u)] = bb;
    state[at + 2u * (call.C / 4u)] = p;
}
