// topk_groups: the best logit of every strided group, and the group's share of the softmax sum.       py_rwkv/kernels/topk.py
//   group g holds the logits g, g + GROUPS, g + 2 GROUPS, … < LIMIT;   best[g] = (max, its id, Σ exp(logit − max), the next best)
//   Where an output has a mask, logits of tokens that it does not allow become NEVER first, for good.
// First of two dispatches that pick the K best of V logits without sorting them; ties go to the lower id everywhere.
const GROUPS: u32 = 1024u;
const WG: u32 = 64u;
struct Call {
    V: u32,      // logits a row
    LIMIT: u32,  // ids from here on are never sampled
    WORDS: u32,  // of a mask
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> masks: array<u32>;               // [outputs, WORDS] a bit per token
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;        // [outputs, V]
@group(0) @binding(3) var<storage, read_write> best: array<vec4<f32>>;    // [outputs, GROUPS] max, id (bits), sum, next best
const NEVER: f32 = -1e30;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let g = id.x;
    if (g >= GROUPS) { return; }
    let base = id.y * call.V;
    if (batch.entries[id.y].masked != 0u) {
        let mask = id.y * call.WORDS;
        for (var i = g; i < call.LIMIT; i += GROUPS) {
            if (((masks[mask + i / 32u] >> (i % 32u)) & 1u) == 0u) { logits[base + i] = NEVER; }
        }
    }
    var top = logits[base + g];
    var top_id = g;
    var next = NEVER;
    for (var i = g + GROUPS; i < call.LIMIT; i += GROUPS) {
        let l = logits[base + i];
        next = max(next, min(l, top));
        if (l > top) { top = l; top_id = i; }
    }
    var sum = 0.0;
    for (var i = g; i < call.LIMIT; i += GROUPS) { sum += exp(logits[base + i] - top); }
    best[id.y * GROUPS + g] = vec4<f32>(top, bitcast<f32>(top_id), sum, next);
}
