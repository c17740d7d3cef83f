// Every invocation looks at all the others.
// How many groups' maxima come before this one.
fn groups_before(mine: f32, my_id: u32, local: u32) -> u32 {
    var rank = vec4<u32>(0u);  // four others at a time
    for (var i = 0u; i < GROUPS; i += 4u) {
        rank += before(vec4<f32>(top(i), top(i + 1u), top(i + 2u), top(i + 3u)), vec4<u32>(top_id(i), top_id(i + 1u), top_id(i + 2u), top_id(i + 3u)), mine, my_id);
    }
    return rank.x + rank.y + rank.z + rank.w;
}
// How many of the n listed logits do.
fn listed_before(list: u32, n: u32, mine: f32, my_id: u32, local: u32) -> u32 {
    var rank = 0u;
    for (var i = 0u; i < n; i++) { rank += u32(beats(bitcast<f32>(found[list + call.CAPACITY + i]), found[list + i], mine, my_id)); }
    return rank;
}
