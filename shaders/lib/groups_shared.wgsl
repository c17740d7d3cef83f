//!include lib/groups_there.wgsl
// The invocations of a subgroup look at SHARE others at a time, of which each has loaded one.
fn groups_before(mine: f32, my_id: u32, local: u32) -> u32 {
    var rank = vec4<u32>(0u);
    for (var i = 0u; i < GROUPS; i += SHARE) { rank += shared_before(top(i + local % SHARE), top_id(i + local % SHARE), mine, my_id); }
    return rank.x + rank.y + rank.z + rank.w;
}
fn listed_before(list: u32, n: u32, mine: f32, my_id: u32, local: u32) -> u32 {
    var rank = vec4<u32>(0u);
    for (var i = 0u; i < n; i += SHARE) {
        let at = min(i + local % SHARE, n - 1u);
        let logit = select(-3.4e38, bitcast<f32>(found[list + call.CAPACITY + at]), i + local % SHARE < n);
        rank += shared_before(logit, select(0xffffffffu, found[list + at], i + local % SHARE < n), mine, my_id);
    }
    return rank.x + rank.y + rank.z + rank.w;
}
