// int8 weights: 16 per vec4<u32>, weight = q / 127 * scale. py_rwkv/quant/int8.py
//!include lib/blocks.wgsl
//!include lib/words4_{held}.wgsl

// The 16 weights of a chunk, still to be multiplied by the scale of their block.
fn load16(chunk: u32, about: f32) -> mat4x4<f32> {
    let q = words(chunk);
    return mat4x4<f32>(unpack4x8snorm(q.x), unpack4x8snorm(q.y), unpack4x8snorm(q.z), unpack4x8snorm(q.w));
}
