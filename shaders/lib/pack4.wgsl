// Eight numbers of four bits in a word: byte i holds the i-th of the first four below the i-th of the last four.
fn pack4(a: vec4<u32>, b: vec4<u32>) -> u32 {
    let bytes = a | (b << vec4(4u));
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
