// Who computes which quads of a head's values: an invocation every LANES-th; for the group norm each sums all of them.
fn head_of(group: u32, local: u32) -> u32 { return group * (WG / LANES) + local / LANES; }
fn recur_all(head: u32, lane: u32, first: u32, run: Entry) {
    for (var quad = lane; quad < N4; quad += LANES) { recur(head, lane, quad, first, run); }
}
fn first_quad(lane: u32) -> u32 { return 0u; }
const NEXT_QUAD: u32 = 1u;
fn total(part: f32) -> f32 { return part; }
