// By integers: exact, and subnormal numbers are kept, which unpack2x16float may flush.
fn number(i: u32) -> f32 {
    let bits = (source[i / 2u] >> (16u * (i & 1u))) & 0xffffu;
    let m = bits & 0x7fffu;
    let magnitude = select(f32(m) * 5.9604645e-8, bitcast<f32>((m << 13u) + 0x38000000u), m >= 0x400u);
    return select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
}
