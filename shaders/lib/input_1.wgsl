// A chunk (16 columns) of the input, loaded by every invocation for itself. Chunks are dealt to the LANES invocations of a group in turn.
const SHARE: u32 = 1u;
fn first_chunk(local: u32) -> u32 { return local % LANES; }
fn input16(quads: u32, base: u32, chunk: u32, local: u32) -> mat4x4<f32> {
    let at = base + chunk * 4u;
    if (TAIL == 0u || chunk * 4u + 4u <= quads) { return mat4x4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]); }
    let zero = vec4<f32>(0.0);  // the last chunk reaches past the row's end
    let left = quads - chunk * 4u;
    return mat4x4<f32>(x[at], select(zero, x[at + 1u], left > 1u), select(zero, x[at + 2u], left > 2u), zero);
}
fn shared_sum(v: f32) -> f32 { return v; }
// Product over one chunk, for a weight row whose chunks start at `at` and whose blocks start at `block`.
fn partial1(at: u32, block: u32, chunk: u32, v: Columns) -> f32 {
    let about = facts(block + chunk / 2u);
    return scale(about) * dot16(weights16(at + chunk, about), v);
}
// 4 weight rows × 1 token, a row per component. Rows past the end are the last one again.
fn product1(m: Matrix, row: u32, base: u32, local: u32) -> vec4<f32> {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    var sum = vec4<f32>(0.0);
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = taken(input16(m.quads, base, chunk, local));
        sum += vec4<f32>(
            partial1(at.x, block.x, chunk, v), partial1(at.y, block.y, chunk, v), partial1(at.z, block.z, chunk, v), partial1(at.w, block.w, chunk, v));
    }
    return sum;
}
