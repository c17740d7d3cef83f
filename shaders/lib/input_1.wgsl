// A chunk (16 columns) of the input, loaded by every invocation for itself. Chunks are dealt to the LANES invocations of a group in turn.
const SHARE: u32 = 1u;
fn first_chunk(local: u32) -> u32 { return local % LANES; }
fn input16(quads: u32, base: u32, chunk: u32, local: u32) -> mat4x4<f32> {
    let at = base + chunk * 4u;
    if (TAIL == 0u || chunk * 4u + 4u <= quads) { return mat4x4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]); }
    let zero = vec4<f32>(0.0);  // the last chunk reaches past the row's end
    let left = quads - chunk * 4u;
    return mat4x4<f32>(x[at], select(zero, x[at + 1u], left > 1u), select(zero, x[at + 2u], left > 2u), zero);
}
fn shared_sum(v: f32) -> f32 { return v; }
