// Words of weights, four at a time, in a texture whose rows are 16 KiB. lavapipe reads a buffer in a loop over invocations and words, a texture of this kind
// in one go for all of them.
@group(0) @binding(1) var weights: texture_storage_2d<rgba32uint, read>;

fn words(at: u32) -> vec4<u32> { return textureLoad(weights, vec2<u32>(at & 1023u, at >> 10u)); }
