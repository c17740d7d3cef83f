//!include lib/tile.wgsl
// 4 weight rows × 1 token. `acc`: a row per component.
const TOKENS: u32 = 1u;
alias Acc = vec4<f32>;
const PARTS: u32 = 4u; // of it
var<private> acc: Acc;

fn accumulate(m: Matrix, row: u32, base: u32, stride: u32, tokens: u32, local: u32) { acc = product1(m, row, base, local); }
fn column(t: u32) -> vec4<f32> { return acc; }
