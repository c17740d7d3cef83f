//!include lib/keys_hold.wgsl
//!include lib/keys_step.wgsl
fn advance(row: u32, key: u32, v: vec4<f32>, lane: u32) -> vec4<f32> {
    return advance_keys(&s0, row, key, v) + advance_keys(&s1, row, key + 1u, v) + advance_keys(&s2, row, key + 2u, v) + advance_keys(&s3, row, key + 3u, v);
}
