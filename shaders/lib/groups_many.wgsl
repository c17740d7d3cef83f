// The groups' maxima and their ids in workgroup memory. Those beyond the last group lose against all.
const ROOM: u32 = (GROUPS + 3u) / 4u * 4u;
var<workgroup> tops: array<f32, ROOM>;
var<workgroup> top_ids: array<u32, ROOM>;
fn keep_groups(first: u32, local: u32) {
    for (var g = local; g < GROUPS; g += WG) {
        tops[g] = best[first + g].x;
        top_ids[g] = bitcast<u32>(best[first + g].y);
    }
    for (var g = GROUPS + local; g < ROOM; g += WG) {
        tops[g] = -3.4e38;
        top_ids[g] = 0xffffffffu;
    }
}
fn top(g: u32) -> f32 { return tops[min(g, ROOM - 1u)]; }
fn top_id(g: u32) -> u32 { return top_ids[min(g, ROOM - 1u)]; }
//!include lib/ranks_alone.wgsl
