// topk_threshold: the K-th best group maximum, and the log of the softmax sum.                        py_rwkv/kernels/topk.py
// At least K logits reach the K-th best maximum, and only the K groups whose maximum reaches it can hold such logits.
const K: u32 = 256u;
const GROUPS: u32 = 1024u;
const WG: u32 = 64u;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> best: array<vec4<f32>>;          // [outputs, GROUPS] max, id (bits), sum, 0
struct Threshold { logit: f32, id: u32, log_sum: f32, count: u32 }
@group(0) @binding(2) var<storage, read_write> threshold: array<Threshold>; // [outputs]; count: candidates found so far

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let g = id.x;
    let base = id.y * GROUPS;
    if (g >= GROUPS) { return; }
    let mine = best[base + g];
    let my_id = bitcast<u32>(mine.y);
    var rank = 0u;
    for (var i = 0u; i < GROUPS; i++) {
        let other = best[base + i];
        rank += u32(other.x > mine.x || (other.x == mine.x && bitcast<u32>(other.y) < my_id));
    }
    if (rank == K - 1u) {
        threshold[id.y].logit = mine.x;
        threshold[id.y].id = my_id;
        threshold[id.y].count = 0u;
    }
    if (rank == 0u) {
        var sum = 0.0;
        for (var i = 0u; i < GROUPS; i++) { sum += best[base + i].z * exp(best[base + i].x - mine.x); }
        threshold[id.y].log_sum = mine.x + log(sum);
    }
}
