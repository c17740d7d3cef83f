// An invocation serves four channels: what it loads once serves all of them. Columns of a projected row, and a chunk of four weight rows.
alias Value = vec4<f32>;
fn partial(chunk: u32, block: u32, v: mat4x4<f32>) -> f32 {
    let w = load16(chunk, block);
    return load_scale(block) * (dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]));
}
fn partials(chunk: u32, chunks: u32, block: u32, blocks: u32, v: mat4x4<f32>) -> Value {
    return Value(
        partial(chunk, block, v), partial(chunk + chunks, block + blocks, v),
        partial(chunk + 2u * chunks, block + 2u * blocks, v), partial(chunk + 3u * chunks, block + 3u * blocks, v));
}
fn column(i: u32) -> Value { return projected[i / 4u]; }
fn dot_of(a: Value, b: Value) -> f32 { return dot(a, b); }
