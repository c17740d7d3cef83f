// Words of weights, four at a time, in a texture whose rows are 16 KiB. SwiftShader reads a buffer (and an image) word by word, with a branch for each, a texture
// that could also be sampled by whole texels.
@group(0) @binding(1) var weights: texture_2d<u32>;

fn words(at: u32) -> vec4<u32> { return textureLoad(weights, vec2<u32>(at & 1023u, at >> 10u), 0u); }
