// topk_rank: the K best of the gathered candidates, best first.                                       py_rwkv/kernels/topk.py
// An invocation counts how many candidates beat its own; that count is its place.
const V: u32 = 65536u;
const K: u32 = 256u;
const CAPACITY: u32 = 16384u;
const THREADS: u32 = 512u;
const WG: u32 = 64u;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> logits: array<f32>;              // [outputs, V]
@group(0) @binding(2) var<storage, read> threshold: array<vec4<u32>>;     // [outputs] logit (bits), id, log Σ exp (bits), count
@group(0) @binding(3) var<storage, read> found: array<u32>;               // [outputs, CAPACITY]
@group(0) @binding(4) var<storage, read_write> candidates: array<u32>;    // [outputs, 4 + 2 K] log Σ exp (bits), K, 0, 0, ids, logits (bits)

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let count = min(threshold[id.y].w, CAPACITY);
    let out = id.y * (4u + 2u * K);
    if (id.x == 0u) {
        candidates[out] = threshold[id.y].z;
        candidates[out + 1u] = K;
        candidates[out + 2u] = 0u;
        candidates[out + 3u] = 0u;
    }
    for (var c = id.x; c < count; c += THREADS) {
        let mine = found[id.y * CAPACITY + c];
        let l = logits[id.y * V + mine];
        var rank = 0u;
        for (var i = 0u; i < count; i++) {
            let other = found[id.y * CAPACITY + i];
            let m = logits[id.y * V + other];
            rank += u32(m > l || (m == l && other < mine));
        }
        if (rank < K) {
            candidates[out + 4u + rank] = mine;
            candidates[out + 4u + K + rank] = bitcast<u32>(l);
        }
    }
}
