//!include lib/share_8.wgsl
//!include lib/input_shared.wgsl
fn input32(quads: u32, base: u32, b: u32, local: u32) -> Inputs32 {
    let mine = quad_of(quads, base, b * 8u + local % SHARE);
    return Inputs32(first4(mine), next4(mine));
}
