// topk_gather: the ids of all logits that reach the threshold, in no particular order.                py_rwkv/kernels/topk.py
const V: u32 = 65536u;
const LIMIT: u32 = 65530u;
const GROUPS: u32 = 1024u;
const CAPACITY: u32 = 16384u;  // K groups × their size: cannot overflow
const WG: u32 = 64u;
//!include lib/step.wgsl
struct Threshold { logit: f32, id: u32, log_sum: f32, count: atomic<u32> }
@group(0) @binding(1) var<storage, read> logits: array<f32>;              // [outputs, V]
@group(0) @binding(2) var<storage, read> best: array<vec4<f32>>;          // [outputs, GROUPS] max, id (bits), sum, 0
@group(0) @binding(3) var<storage, read_write> threshold: array<Threshold>; // [outputs]
@group(0) @binding(4) var<storage, read_write> found: array<u32>;         // [outputs, CAPACITY]

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let g = id.x;
    if (g >= GROUPS) { return; }
    let bar = threshold[id.y].logit;
    let bar_id = threshold[id.y].id;
    if (best[id.y * GROUPS + g].x < bar) { return; }
    for (var i = g; i < LIMIT; i += GROUPS) {
        let l = logits[id.y * V + i];
        if (l > bar || (l == bar && i <= bar_id)) {
            let at = atomicAdd(&threshold[id.y].count, 1u);
            if (at < CAPACITY) { found[id.y * CAPACITY + at] = i; }
        }
    }
}
