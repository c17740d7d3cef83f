// 4 weight rows × 8 tokens: each decoded chunk of weights serves eight tokens.
//!include lib/tile.wgsl
//!include lib/tile_tokens.wgsl
//!include lib/inputs_{share}.wgsl
// Four tokens in each, a token per column, a row per component.
struct Product8 { low: mat4x4<f32>, high: mat4x4<f32> }

fn partial8(at: u32, block: u32, chunk: u32, v: Inputs8) -> mat2x4<f32> {
    let about = facts(block + chunk / 2u);
    let w = weights16(at + chunk, about);
    return scale(about) * mat2x4<f32>(dots(w, v.low), dots(w, v.high));
}
fn product8(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) -> Product8 {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    let rows = rows8(base, stride, tokens - 1u, local);
    var r0 = mat2x4<f32>();
    var r1 = mat2x4<f32>();
    var r2 = mat2x4<f32>();
    var r3 = mat2x4<f32>();
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = inputs8(m.quads, rows, chunk, local);
        r0 += partial8(at.x, block.x, chunk, v);
        r1 += partial8(at.y, block.y, chunk, v);
        r2 += partial8(at.z, block.z, chunk, v);
        r3 += partial8(at.w, block.w, chunk, v);
    }
    return Product8(transpose(mat4x4<f32>(r0[0], r1[0], r2[0], r3[0])), transpose(mat4x4<f32>(r0[1], r1[1], r2[1], r3[1])));
}
