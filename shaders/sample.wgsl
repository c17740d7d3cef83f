// sample: the next token of every output row, from its best candidates.                               py_rwkv/kernels/sample.py
//   l[t] −= presence + count[t] · frequency;   p = softmax(l);   keep top-p, then top-k;   draw from p^(1 / temperature)
// One workgroup per output row. The token goes into the step block, where the next replay finds it. A row that is done loses its slot there, and a row
// without a slot leaves states alone: replays in flight behind it change nothing.
const K: u32 = 256u;
const RING: u32 = 64u;
const WG: u32 = 64u;
struct Call {
    V: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step_types.wgsl
struct Sampler {
    temperature: f32, top_p: f32, top_k: u32, presence: f32,
    frequency: f32, log_decay: f32, seed_low: u32, seed_high: u32,
    drawn: u32,    // tokens so far: the place in the random sequence
    limit: u32,    // the end, when `drawn` reaches it
    stops: u32,    // how many of `stop` count
    halted: u32,   // 0: goes on; 1: a stop token; 2: the limit; 3: logits that are no numbers; 4: nothing to choose from
    stop: array<u32, 16>,
}
@group(0) @binding(0) var<storage, read_write> batch: Step;
@group(0) @binding(1) var<storage, read> candidates: array<u32>;          // [outputs, 4 + 2 K] log Σ exp (bits), K, 0, 0, ids, logits (bits)
@group(0) @binding(2) var<storage, read_write> samplers: array<Sampler>;  // [slots]
@group(0) @binding(3) var<storage, read_write> counts: array<vec2<u32>>;  // [slots, V] count (bits) after the last draw, that draw + 1; 0: never drawn; all ones: banned
@group(0) @binding(4) var<storage, read_write> ring: array<vec2<u32>>;    // [slots, RING] token and log-probability (bits) of draw i, at i mod RING; all ones and `halted` where none could be made

const NO_SLOT: u32 = 0xffffffffu;
const NEVER: f32 = 3e38;
var<workgroup> costs: array<f32, K>;      // −logit after penalties. No more of these than needed: SwiftShader zeroes each word with code of its own
var<workgroup> order: array<u32, K>;      // by cost, then by id
var<private> here: u32;                   // the row's candidates
var<private> table: u32;                  // the slot's counts

fn id_of(i: u32) -> u32 {
    return candidates[here + 4u + i];
}
fn logit_of(i: u32) -> f32 {
    return bitcast<f32>(candidates[here + 4u + K + i]);
}
fn changed(i: u32) -> bool {  // by a penalty or a ban
    return counts[table + id_of(i)].y != 0u;
}

fn random(low: u32, high: u32, counter: u32) -> u32 {  // pcg3d, Jarzynski & Olano 2020
    var v = vec3<u32>(low, high, counter) * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    return v.x + v.y * v.z;
}
fn count_of(entry: vec2<u32>, s: Sampler) -> f32 {
    return select(0.0, bitcast<f32>(entry.x) * exp(s.log_decay * f32(s.drawn - entry.y)), entry.y != 0u);
}
// log Σ exp after penalties: what is changed is taken out and put in again.
fn penalised_sum(before: f32, best: f32) -> f32 {
    var rest = 1.0;
    for (var i = 0u; i < K; i++) { if (changed(i)) { rest -= exp(logit_of(i) - before); } }
    if (rest < 1e-3) {  // rounding would decide: the other candidates are a lower bound
        var others = 0.0;
        for (var i = 0u; i < K; i++) { if (!changed(i)) { others += exp(logit_of(i) - before); } }
        rest = max(rest, others);
    }
    let shift = select(best, max(before, best), rest > 0.0);
    var sum = select(0.0, rest * exp(before - shift), rest > 0.0);
    for (var i = 0u; i < K; i++) { if (changed(i) && costs[i] < NEVER) { sum += exp(-costs[i] - shift); } }
    return shift + log(sum);
}
// The place of the drawn token in `order`, of which the first n may be chosen.
fn draw(s: Sampler, total: f32, n: u32) -> u32 {
    if (s.temperature == 0.0) { return 0u; }
    var keep = n;
    if (s.top_p < 1.0) {
        keep = 1u;
        var reached = exp(-costs[order[0]] - total);
        while (reached < s.top_p && keep < n) {
            reached += exp(-costs[order[keep]] - total);
            keep++;
        }
        while (keep < n && costs[order[keep]] == costs[order[keep - 1u]]) { keep++; }
    }
    if (s.top_k > 0u) { keep = min(keep, s.top_k); }
    let best = costs[order[0]];
    var sum = 0.0;
    for (var i = 0u; i < keep; i++) { sum += exp((best - costs[order[i]]) / s.temperature); }
    let point = f32(random(s.seed_low, s.seed_high, s.drawn) >> 8u) * 0x1p-24 * sum;
    var place = 0u;
    sum = exp(0.0);
    while (place < keep - 1u && sum <= point) {
        place++;
        sum += exp((best - costs[order[place]]) / s.temperature);
    }
    return place;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = batch.entries[group.y].output;
    let slot = batch.entries[row].slot;
    here = group.y * (4u + 2u * K);
    let live = slot != NO_SLOT && row == batch.entries[row].last;  // only the last row of a run draws
    let mine = select(0u, slot, live);
    table = mine * call.V;
    for (var i = local; i < K; i += WG) {
        let logit = logit_of(i);
        let entry = counts[table + id_of(i)];
        let penalty = samplers[mine].presence + count_of(entry, samplers[mine]) * samplers[mine].frequency;
        costs[i] = select(select(-logit, penalty - logit, entry.y != 0u), NEVER, entry.y == 0xffffffffu);
    }
    workgroupBarrier();
    for (var i = local; i < K; i += WG) {
        var place = 0u;
        for (var j = 0u; j < K; j++) { place += u32(costs[j] < costs[i] || (costs[j] == costs[i] && id_of(j) < id_of(i))); }
        order[min(place, K - 1u)] = i;
    }
    workgroupBarrier();
    if (local != 0u || !live) { return; }
    let before_bits = candidates[here];
    let s = samplers[slot];
    var n = 0u;
    var any = 0u;
    for (var i = 0u; i < K; i++) {
        n += u32(costs[i] < NEVER);
        any |= u32(changed(i));
    }
    var halted = 0u;
    if ((before_bits & 0x7f800000u) == 0x7f800000u) { halted = 3u; } else if (n == 0u) { halted = 4u; }
    if (halted != 0u) {
        ring[slot * RING + s.drawn % RING] = vec2<u32>(0xffffffffu, halted);
    } else {
        let before = bitcast<f32>(before_bits);
        var total = before;
        if (any != 0u) { total = penalised_sum(before, -costs[order[0]]); }
        let chosen = order[draw(s, total, n)];
        let token = id_of(chosen);
        let entry = counts[table + token];
        counts[table + token] = vec2<u32>(bitcast<u32>(count_of(entry, s) * exp(s.log_decay) + 1.0), s.drawn + 1u);
        ring[slot * RING + s.drawn % RING] = vec2<u32>(token, bitcast<u32>(logit_of(chosen) - before));
        batch.entries[row].token = token;
        samplers[slot].drawn = s.drawn + 1u;
        if (s.drawn + 1u >= s.limit) { halted = 2u; }
        for (var i = 0u; i < s.stops; i++) { if (s.stop[i] == token) { halted = 1u; } }
    }
    samplers[slot].halted = halted;
    if (halted != 0u) { batch.entries[row].slot = NO_SLOT; }
}
