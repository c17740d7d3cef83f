// Words of weights, two at a time, in a texture whose rows are 16 KiB. See words4_textures.wgsl
@group(0) @binding(1) var weights: texture_2d<u32>;

fn words(at: u32) -> vec2<u32> { return textureLoad(weights, vec2<u32>(at & 2047u, at >> 11u), 0u).xy; }
