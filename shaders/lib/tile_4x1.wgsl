//!include lib/tile.wgsl
// 4 weight rows × 1 token. `acc`: one row per component.
const TOKENS: u32 = 1u;
alias Acc = vec4<f32>;
var<private> acc: Acc;

fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(M - 1u));
    var sum = Acc(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v = input16(base, chunk);
        sum += vec4<f32>(partial1(r.x, chunk, v), partial1(r.y, chunk, v), partial1(r.z, chunk, v), partial1(r.w, chunk, v));
    }
    acc = sum;
}
fn element(value: Acc, i: u32) -> f32 { return value[i]; }
