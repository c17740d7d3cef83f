//!include lib/share_4.wgsl
//!include lib/input_shared.wgsl
fn input32(quads: u32, base: u32, b: u32, local: u32) -> Inputs32 {
    let at = b * 8u + local % SHARE;
    return Inputs32(first4(quad_of(quads, base, at)), first4(quad_of(quads, base, at + SHARE)));
}
