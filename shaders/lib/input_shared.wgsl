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
// A block (32 columns) of the input: what its two chunks have.
struct Inputs32 { low: mat4x4<f32>, high: mat4x4<f32> }
// A quad of it; nothing past the row's end, which may be in the middle of a block.
fn quad_of(quads: u32, base: u32, at: u32) -> vec4<f32> { return select(x[base + at], vec4<f32>(0.0), at >= quads); }

// Product over one block, for a weight row whose chunks start at `at` and whose blocks start at `block`. What lies behind the last chunk of a row meets zeros.
fn partial1(at: u32, block: u32, b: u32, v: Inputs32) -> f32 {
    let about = facts(block + b);
    return scale(about) * (dot16(weights16(at + 2u * b, about), v.low) + dot16(weights16(at + 2u * b + 1u, about), v.high));
}
// 4 weight rows × 1 token, a row per component. Rows past the end are the last one again.
fn product1(m: Matrix, row: u32, base: u32, local: u32) -> vec4<f32> {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    var sum = vec4<f32>(0.0);
    for (var b = 0u; b < m.blocks; b++) {
        let v = input32(m.quads, base, b, local);
        sum += vec4<f32>(partial1(at.x, block.x, b, v), partial1(at.y, block.y, b, v), partial1(at.z, block.z, b, v), partial1(at.w, block.w, b, v));
    }
    return sum;
}
