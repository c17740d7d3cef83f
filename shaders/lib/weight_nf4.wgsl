// nf4 weights: 16 per vec2<u32>, weight = value(q) * scale. py_rwkv/quant/nf4.py
//!include lib/blocks.wgsl
//!include lib/words2_{held}.wgsl

// The values of the low halves of four bytes, by the polynomial that the codebook was rounded from. Slower everywhere, or in SwiftShader by a factor of three:
// tables in constants or private memory, selecting among 16 numbers, shifting them out of selected words.
fn values(packed: u32) -> vec4<f32> {
    let k = unpack4x8unorm(packed & 0x0f0f0f0fu) * 255.0 - 7.0;  // -7 … 8
    let u = k * select(vec4<f32>(1.0 / 8.0), vec4<f32>(1.0 / 7.0), k < vec4<f32>(0.0));
    let s = u * u;
    return u * (0.638231 + s * (0.069162 + s * (0.473971 + s * (-0.761089 + s * 0.579725))));
}
// The 16 weights of a chunk, still to be multiplied by the scale of their block.
fn load16(chunk: u32, about: f32) -> mat4x4<f32> {
    let w = words(chunk);
    return mat4x4<f32>(values(w.x), values(w.x >> 4u), values(w.y), values(w.y >> 4u));
}
