fn number(i: u32) -> f32 { return bitcast<f32>(source[i]); }
