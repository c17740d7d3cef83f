fn number(i: u32) -> f32 { return bitcast<f32>(((source[i / 2u] >> (16u * (i & 1u))) & 0xffffu) << 16u); }
