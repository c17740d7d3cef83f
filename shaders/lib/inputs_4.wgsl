// A chunk of eight tokens, for tiles of as many: each invocation of a subgroup loads two, and hands them round.
//!include lib/inputs_shared.wgsl
fn rows8(base: u32, stride: u32, last: u32, local: u32) -> vec2<u32> {
    return base + min(vec2<u32>(local % SHARE, local % SHARE + 4u), vec2<u32>(last)) * stride;
}
fn inputs8(quads: u32, rows: vec2<u32>, chunk: u32, local: u32) -> Inputs8 {
    return Inputs8(first4_tokens(own16(quads, rows.x, chunk)), first4_tokens(own16(quads, rows.y, chunk)));
}
