// A chunk of eight tokens, for tiles of as many, loaded by every invocation for itself.
struct Rows8 { low: vec4<u32>, high: vec4<u32> }
fn rows8(base: u32, stride: u32, last: u32, local: u32) -> Rows8 {
    return Rows8(base + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * stride, base + min(vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(last)) * stride);
}
fn inputs4(quads: u32, rows: vec4<u32>, chunk: u32, local: u32) -> Inputs {
    return Inputs(
        taken(input16(quads, rows.x, chunk, local)), taken(input16(quads, rows.y, chunk, local)), taken(input16(quads, rows.z, chunk, local)), taken(input16(quads, rows.w, chunk, local)));
}
fn inputs8(quads: u32, rows: Rows8, chunk: u32, local: u32) -> Inputs8 {
    return Inputs8(inputs4(quads, rows.low, chunk, local), inputs4(quads, rows.high, chunk, local));
}
