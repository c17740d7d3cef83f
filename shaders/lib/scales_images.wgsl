@group(0) @binding(2) var scales: texture_storage_2d<r32uint, read>;

fn scale_word(at: u32) -> u32 { return textureLoad(scales, vec2<u32>(at & 4095u, at >> 12u)).x; }
