// int8 weights: 16 per vec4<u32>, weight = q / 127 * scale, one f16 scale per 64 columns. py_rwkv/quant
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;  // two f16 a word

// The 16 weights of a chunk, still to be multiplied by their scale.
fn load16(chunk: u32) -> mat4x4<f32> {
    let q = weights[chunk];
    return mat4x4<f32>(unpack4x8snorm(q.x), unpack4x8snorm(q.y), unpack4x8snorm(q.z), unpack4x8snorm(q.w));
}
fn load_scale(index: u32) -> f32 {
    return unpack2x16float(scales[index >> 1u])[index & 1u];
}
