//!include lib/tile.wgsl
// 8 weight rows × 1 token. `acc`: one row per component.
const ROWS: u32 = 8u;
const TOKENS: u32 = 1u;
alias Acc = array<vec4<f32>, 2>;
var<private> acc: Acc;

fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(M - 1u));
    let q = min(vec4<u32>(row + 4u, row + 5u, row + 6u, row + 7u), vec4<u32>(M - 1u));
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v = input16(base, chunk);
        a += partials(r, chunk, v);
        b += partials(q, chunk, v);
    }
    acc = Acc(a, b);
}
fn element(value: Acc, i: u32) -> f32 { return value[i / 4u][i % 4u]; }
