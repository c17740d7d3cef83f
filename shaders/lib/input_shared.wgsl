// A chunk (16 columns) of the input, which the invocations of a subgroup load together: `base` is the same for all of them, and they all come here. LANES is 1.
fn first_chunk(local: u32) -> u32 { return 0u; }
fn component(quads: u32, base: u32, at: u32, local: u32) -> f32 {
    let value = x[base + at][local % 4u];
    return select(value, 0.0, TAIL == 1u && at >= quads);  // the last chunk may reach past the row's end
}
fn input16(quads: u32, base: u32, chunk: u32, local: u32) -> mat4x4<f32> {
    let at = chunk * 4u + local % SHARE / 4u;
    var mine = vec4<f32>(component(quads, base, at, local), component(quads, base, at + SHARE / 4u, local), 0.0, 0.0);
    if (SHARE == 4u) {
        mine.z = component(quads, base, at + 2u, local);
        mine.w = component(quads, base, at + 3u, local);
    }
    return spread16(mine);
}
fn shared_sum(v: f32) -> f32 { return subgroupAdd(v); }
