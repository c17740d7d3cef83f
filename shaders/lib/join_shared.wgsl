// A workgroup is a subgroup is a head, and every invocation has as many quads. It sums those that it wrote itself: nothing to wait for.
fn head_of(group: u32, local: u32) -> u32 { return group; }
fn recur_all(head: u32, lane: u32, first: u32, run: Entry) {
    for (var quad = 0u; quad < N4; quad += LANES) { recur(head, lane, quad + lane, first, run); }
}
fn first_quad(lane: u32) -> u32 { return lane; }
const NEXT_QUAD: u32 = LANES;
fn total(part: f32) -> f32 { return subgroupAdd(part); }
fn join() {}
