// A chunk of eight tokens, for tiles of as many: each invocation of a subgroup loads one, and hands it round.
//!include lib/inputs_shared.wgsl
fn rows8(base: u32, stride: u32, last: u32, local: u32) -> u32 { return base + min(local % SHARE, last) * stride; }
fn inputs8(quads: u32, row: u32, chunk: u32, local: u32) -> Inputs8 {
    let own = own16(quads, row, chunk);
    return Inputs8(first4_tokens(own), chunks_of(next4(own[0]), next4(own[1]), next4(own[2]), next4(own[3])));
}
