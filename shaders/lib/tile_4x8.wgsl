//!include lib/tile.wgsl
//!include lib/tile_tokens.wgsl
// 4 weight rows × 8 tokens: each decoded chunk of weights serves eight tokens. `acc`: two elements per row, a token per component.
const TOKENS: u32 = 8u;
alias Acc = array<vec4<f32>, 8>;
const PARTS: u32 = 8u; // of it
var<private> acc: Acc;

fn partial8(at: u32, block: u32, chunk: u32, v: Inputs, u: Inputs) -> mat2x4<f32> {
    let about = facts(block + chunk / 2u);
    let w = load16(at + chunk, about);
    return scale(about) * mat2x4<f32>(dots(w, v), dots(w, u));
}
fn accumulate(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    let b = base + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(tokens - 1u)) * stride;
    let d = base + min(vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(tokens - 1u)) * stride;
    var r0 = mat2x4<f32>();
    var r1 = mat2x4<f32>();
    var r2 = mat2x4<f32>();
    var r3 = mat2x4<f32>();
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = Inputs(input16(m.quads, b.x, chunk, local), input16(m.quads, b.y, chunk, local), input16(m.quads, b.z, chunk, local), input16(m.quads, b.w, chunk, local));
        let u = Inputs(input16(m.quads, d.x, chunk, local), input16(m.quads, d.y, chunk, local), input16(m.quads, d.z, chunk, local), input16(m.quads, d.w, chunk, local));
        r0 += partial8(at.x, block.x, chunk, v, u);
        r1 += partial8(at.y, block.y, chunk, v, u);
        r2 += partial8(at.z, block.z, chunk, v, u);
        r3 += partial8(at.w, block.w, chunk, v, u);
    }
    acc = Acc(r0[0], r0[1], r1[0], r1[1], r2[0], r2[1], r3[0], r3[1]);
}
// The same for kernels that often see a lone token: the last one of a prompt before the head.
fn accumulate_any(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) {
    if (tokens != 1u) {
        accumulate(m, row, base, stride, tokens, local);
        return;
    }
    let sum = product1(m, row, base, local);
    acc = Acc(sum.xxxx, sum.xxxx, sum.yyyy, sum.yyyy, sum.zzzz, sum.zzzz, sum.wwww, sum.wwww);
}
fn element(value: Acc, i: u32) -> f32 { return value[i / 4u][i % 4u]; }
