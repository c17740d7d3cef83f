// The groups' maxima and their ids where they lie: SwiftShader zeroes workgroup memory with code of its own for every word, 0.4 s of compiling for these.
var<private> first_group: u32;
fn keep_groups(first: u32, local: u32) {
    first_group = first;
}
fn top(g: u32) -> f32 {
    return select(-3.4e38, best[first_group + min(g, GROUPS - 1u)].x, g < GROUPS);
}
fn top_id(g: u32) -> u32 {
    return bitcast<u32>(best[first_group + min(g, GROUPS - 1u)].y);
}
