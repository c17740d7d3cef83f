// An invocation serves one channel: for hardware, which wants many invocations. The column of a projected row, and a chunk of a weight row.
alias Value = f32;
fn partial(chunk: u32, block: u32, v: mat4x4<f32>) -> f32 {
    let w = load16(chunk, block);
    return load_scale(block) * (dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]));
}
fn partials(chunk: u32, chunks: u32, block: u32, blocks: u32, v: mat4x4<f32>) -> Value { return partial(chunk, block, v); }
fn column(i: u32) -> Value { return projected[i / 4u][i % 4u]; }
fn dot_of(a: Value, b: Value) -> f32 { return a * b; }
