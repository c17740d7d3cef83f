// int4 weights: 16 per vec2<u32>, weight = (q - zero / 16) * scale. py_rwkv/quant/int4.py
//!include lib/words2_{held}.wgsl
// Scales, of two 32-column blocks in a word each: the code of the scale, zero.
//!include lib/scales_{held}.wgsl

alias About = u32;  // what a product has to know of a block
fn facts(block: u32) -> u32 { return scale_word(block >> 1u) >> ((block & 1u) * 16u); }

// The 16 weights of a chunk, still to be multiplied by the scale of their block: q / 255 - zero / (16 * 255), because unpack4x8unorm divides.
fn load16(chunk: u32, about: u32) -> mat4x4<f32> {
    let w = words(chunk);
    let low = w & vec2<u32>(0x0f0f0f0fu);
    let high = (w >> vec2<u32>(4u)) & vec2<u32>(0x0f0f0f0fu);
    let zero = vec4<f32>(f32((about >> 8u) & 0xffu) * (1.0 / 4080.0));
    return mat4x4<f32>(
        unpack4x8unorm(low.x) - zero, unpack4x8unorm(high.x) - zero, unpack4x8unorm(low.y) - zero, unpack4x8unorm(high.y) - zero);
}
fn scale(about: u32) -> f32 { return 255.0 * bitcast<f32>(((about & 0xffu) << 20u) + (111u << 23u)); }
