// 4 weight rows × 8 tokens. `acc`: an element per token, a row per component.
const TOKENS: u32 = 8u;
alias Acc = array<vec4<f32>, 8>;
const PARTS: u32 = 8u; // of it
var<private> acc: Acc;

fn accumulate(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) {
    let p = product8(m, row, base, stride, tokens, local);
    acc = Acc(p.low[0], p.low[1], p.low[2], p.low[3], p.high[0], p.high[1], p.high[2], p.high[3]);
}
fn column(t: u32) -> vec4<f32> {
    let low = one_of(t, mat4x4<f32>(acc[0], acc[1], acc[2], acc[3]));
    let high = one_of(t, mat4x4<f32>(acc[4], acc[5], acc[6], acc[7]));
    return select(low, high, t >= 4u);
}
//!include lib/product8.wgsl
