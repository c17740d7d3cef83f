// A chunk of the token that is this invocation's, in vec4s: loading four numbers costs software adapters less than twice what one does.
fn quad(quads: u32, row: u32, at: u32) -> vec4<f32> {
    let value = x[row + at];
    return select(value, vec4<f32>(0.0), TAIL == 1u && at >= quads);  // the last chunk may reach past the row's end
}
fn own16(quads: u32, row: u32, chunk: u32) -> mat4x4<f32> {
    let at = chunk * 4u;
    return mat4x4<f32>(quad(quads, row, at), quad(quads, row, at + 1u), quad(quads, row, at + 2u), quad(quads, row, at + 3u));
}
// Four tokens' chunks, of which a, b, c and d have the quads.
fn chunks_of(a: mat4x4<f32>, b: mat4x4<f32>, c: mat4x4<f32>, d: mat4x4<f32>) -> Inputs {
    return Inputs(
        mat4x4<f32>(a[0], b[0], c[0], d[0]), mat4x4<f32>(a[1], b[1], c[1], d[1]), mat4x4<f32>(a[2], b[2], c[2], d[2]), mat4x4<f32>(a[3], b[3], c[3], d[3]));
}
fn first4_tokens(own: mat4x4<f32>) -> Inputs { return chunks_of(first4(own[0]), first4(own[1]), first4(own[2]), first4(own[3])); }
