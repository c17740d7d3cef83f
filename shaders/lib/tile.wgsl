// What every tile needs: the input's chunks and the sum over one. A chunk is 16 columns; chunks are dealt to the LANES invocations of a group in turn.
// Accumulators live in named variables: SwiftShader keeps indexed arrays in memory, which costs a factor of ten.
fn input16(base: u32, chunk: u32) -> mat4x4<f32> {
    let at = base + chunk * 4u;
    if (K % 16u == 0u || chunk + 1u < CHUNKS) { return mat4x4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]); }
    let zero = vec4<f32>(0.0);  // the last chunk reaches past the row's end
    let left = K / 4u - chunk * 4u;
    return mat4x4<f32>(x[at], select(zero, x[at + 1u], left > 1u), select(zero, x[at + 2u], left > 2u), zero);
}
fn dot16(w: mat4x4<f32>, v: mat4x4<f32>) -> f32 {
    return dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]);
}
fn partial1(row: u32, chunk: u32, v: mat4x4<f32>) -> f32 {
    let block = row * BLOCKS + chunk / 2u;
    return load_scale(block) * dot16(load16(row * CHUNKS + chunk, block), v);
}
