// 4 weight rows × 16 tokens: each decoded chunk of weights serves sixteen tokens, or eight where there are no more. `acc`: an element per token, a row per component.
const TOKENS: u32 = 16u;
alias Acc = array<vec4<f32>, 16>;
const PARTS: u32 = 16u; // of it
var<private> acc: Acc;

// A chunk of one weight row times sixteen tokens, four in each column.
fn partial16(at: u32, block: u32, chunk: u32, v: Inputs8, u: Inputs8) -> mat4x4<f32> {
    let about = facts(block + chunk / 2u);
    let w = weights16(at + chunk, about);
    return scale(about) * mat4x4<f32>(dots(w, v.low), dots(w, v.high), dots(w, u.low), dots(w, u.high));
}
fn accumulate(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) {
    if (tokens <= 8u) {
        let p = product8(m, row, base, stride, tokens, local);
        acc = Acc(p.low[0], p.low[1], p.low[2], p.low[3], p.high[0], p.high[1], p.high[2], p.high[3], vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>());
        return;
    }
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    let first = rows8(base, stride, 7u, local);
    let second = rows8(base + 8u * stride, stride, tokens - 9u, local);
    var r0 = mat4x4<f32>();
    var r1 = mat4x4<f32>();
    var r2 = mat4x4<f32>();
    var r3 = mat4x4<f32>();
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = inputs8(m.quads, first, chunk, local);
        let u = inputs8(m.quads, second, chunk, local);
        r0 += partial16(at.x, block.x, chunk, v, u);
        r1 += partial16(at.y, block.y, chunk, v, u);
        r2 += partial16(at.z, block.z, chunk, v, u);
        r3 += partial16(at.w, block.w, chunk, v, u);
    }
    let a = transpose(mat4x4<f32>(r0[0], r1[0], r2[0], r3[0]));
    let b = transpose(mat4x4<f32>(r0[1], r1[1], r2[1], r3[1]));
    let c = transpose(mat4x4<f32>(r0[2], r1[2], r2[2], r3[2]));
    let d = transpose(mat4x4<f32>(r0[3], r1[3], r2[3], r3[3]));
    acc = Acc(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]);
}
fn column(t: u32) -> vec4<f32> {
    let low = select(one_of(t, mat4x4<f32>(acc[0], acc[1], acc[2], acc[3])), one_of(t, mat4x4<f32>(acc[4], acc[5], acc[6], acc[7])), (t & 4u) != 0u);
    let high = select(one_of(t, mat4x4<f32>(acc[8], acc[9], acc[10], acc[11])), one_of(t, mat4x4<f32>(acc[12], acc[13], acc[14], acc[15])), (t & 4u) != 0u);
    return select(low, high, t >= 8u);
}
//!include lib/product8.wgsl
