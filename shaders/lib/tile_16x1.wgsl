//!include lib/tile.wgsl
// 16 weight rows × 1 token, for matrices with so many rows that tiles of 16 keep every core busy. `acc`: one row per component.
const ROWS: u32 = 16u;
const TOKENS: u32 = 1u;
alias Acc = array<vec4<f32>, 4>;
var<private> acc: Acc;

fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    let first = vec4<u32>(row, row + 1u, row + 2u, row + 3u);
    let last = vec4<u32>(M - 1u);
    let r0 = min(first, last);
    let r1 = min(first + 4u, last);
    let r2 = min(first + 8u, last);
    let r3 = min(first + 12u, last);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v = input16(base, chunk);
        s0 += partials(r0, chunk, v);
        s1 += partials(r1, chunk, v);
        s2 += partials(r2, chunk, v);
        s3 += partials(r3, chunk, v);
    }
    acc = Acc(s0, s1, s2, s3);
}
fn element(value: Acc, i: u32) -> f32 { return value[i / 4u][i % 4u]; }
