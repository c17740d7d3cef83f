//!include lib/tile.wgsl
//!include lib/tile_tokens.wgsl
// 4 weight rows × 4 tokens: each decoded chunk of weights serves four tokens. `acc`: a token per column, a row per component.
const TOKENS: u32 = 4u;
alias Acc = mat4x4<f32>;
const PARTS: u32 = 4u; // of it
var<private> acc: Acc;

fn accumulate(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    let b = base + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(tokens - 1u)) * stride;
    var r0 = vec4<f32>(0.0);
    var r1 = vec4<f32>(0.0);
    var r2 = vec4<f32>(0.0);
    var r3 = vec4<f32>(0.0);
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = Inputs(
            taken(input16(m.quads, b.x, chunk, local)), taken(input16(m.quads, b.y, chunk, local)), taken(input16(m.quads, b.z, chunk, local)), taken(input16(m.quads, b.w, chunk, local)));
        r0 += partial4(at.x, block.x, chunk, v);
        r1 += partial4(at.y, block.y, chunk, v);
        r2 += partial4(at.z, block.z, chunk, v);
        r3 += partial4(at.w, block.w, chunk, v);
    }
    acc = transpose(Acc(r0, r1, r2, r3));
}
fn column(t: u32) -> vec4<f32> { return one_of(t, acc); }
