// topk_select: the K best logits, best first, and log Σ exp of all, from the groups' maxima.          py_rwkv/kernels/topk.py
//   At least K logits reach the K-th best maximum (the bar), and only the K groups whose maximum reaches it can hold such logits:
//   they are gathered, a few hundred as a rule, and each one's place is the number of those that beat it. Most of those groups have one: only the others,
//   whose next best reaches the bar too, are searched.
// One workgroup per output row.
const K: u32 = 256u;
const GROUPS: u32 = 512u;
const WG: u32 = 64u;
struct Call {
    V: u32,
    LIMIT: u32,
    CAPACITY: u32,  // K groups × their size: cannot overflow
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> logits: array<f32>;              // [outputs, V]
@group(0) @binding(2) var<storage, read> best: array<vec4<f32>>;          // [outputs, GROUPS] max, id (bits), sum, next best
@group(0) @binding(3) var<storage, read_write> found: array<u32>;         // [outputs, 2 CAPACITY + GROUPS] ids, logits (bits), groups to search
@group(0) @binding(4) var<storage, read_write> candidates: array<u32>;    // [outputs, 4 + 2 K] log Σ exp (bits), K, 0, 0, ids, logits (bits)

//!include lib/groups_{reduce}.wgsl
var<workgroup> sums: array<vec2<f32>, WG>;     // Σ exp(logit − max), max
var<workgroup> bar: f32;
var<workgroup> bar_id: u32;
var<workgroup> count: atomic<u32>;
var<workgroup> searches: atomic<u32>;

var<workgroup> total: u32;

fn beats(a: f32, a_id: u32, b: f32, b_id: u32) -> bool {
    return a > b || (a == b && a_id < b_id);
}
fn before(other: vec4<f32>, id: vec4<u32>, mine: f32, my_id: u32) -> vec4<u32> {
    return vec4<u32>((other > vec4<f32>(mine)) | ((other == vec4<f32>(mine)) & (id < vec4<u32>(my_id))));
}
fn gather(list: u32, id: u32, logit: f32) {
    let at = atomicAdd(&count, 1u);
    if (at < call.CAPACITY) {
        found[list + at] = id;
        found[list + call.CAPACITY + at] = bitcast<u32>(logit);
    }
}
fn both(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let most = max(a.y, b.y);
    return vec2<f32>(a.x * exp(a.y - most) + b.x * exp(b.y - most), most);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y * call.V;
    let list = group.y * (2u * call.CAPACITY + GROUPS);
    let out = group.y * (4u + 2u * K);
    var sum = vec2<f32>(0.0, best[group.y * GROUPS].x);
    for (var g = local; g < GROUPS; g += WG) {
        sum = both(sum, best[group.y * GROUPS + g].zx);
    }
    keep_groups(group.y * GROUPS, local);
    sums[local] = sum;
    if (local == 0u) {
        atomicStore(&count, 0u);
        atomicStore(&searches, 0u);
    }
    workgroupBarrier();
    for (var first = 0u; first < GROUPS; first += WG) {
        let g = first + local;
        let rank = groups_before(top(g), top_id(g), local);
        if (g < GROUPS && rank == K - 1u) {
            bar = top(g);
            bar_id = top_id(g);
        }
    }
    workgroupBarrier();
    for (var g = local; g < GROUPS; g += WG) {
        if (best[group.y * GROUPS + g].w >= bar) {
            found[list + 2u * call.CAPACITY + atomicAdd(&searches, 1u)] = g;
        } else if (!beats(bar, bar_id, top(g), top_id(g))) {
            gather(list, top_id(g), top(g));
        }
    }
    storageBarrier();
    workgroupBarrier();
    for (var s = local; s < atomicLoad(&searches); s += WG) {
        for (var i = found[list + 2u * call.CAPACITY + s]; i < call.LIMIT; i += GROUPS) {
            let l = logits[row + i];
            if (!beats(bar, bar_id, l, i)) { gather(list, i, l); }
        }
    }
    if (local == 0u) {
        for (var i = 1u; i < WG; i++) { sum = both(sum, sums[i]); }
        candidates[out] = bitcast<u32>(sum.y + log(sum.x));
        candidates[out + 1u] = K;
        candidates[out + 2u] = 0u;
        candidates[out + 3u] = 0u;
    }
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) { total = min(atomicLoad(&count), call.CAPACITY); }
    let n = workgroupUniformLoad(&total);
    for (var first = 0u; first < n; first += WG) {
        let c = min(first + local, n - 1u);
        let id = found[list + c];
        let l = bitcast<f32>(found[list + call.CAPACITY + c]);
        let rank = listed_before(list, n, l, id, local);
        if (first + local < n && rank < K) {
            candidates[out + 4u + rank] = id;
            candidates[out + 4u + K + rank] = bitcast<u32>(l);
        }
    }
}
