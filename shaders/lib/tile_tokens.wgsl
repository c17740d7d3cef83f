// One weight row times four tokens.
fn partial4(row: u32, chunk: u32, v0: mat4x4<f32>, v1: mat4x4<f32>, v2: mat4x4<f32>, v3: mat4x4<f32>) -> vec4<f32> {
    let block = row * BLOCKS + chunk / 2u;
    let w = load16(row * CHUNKS + chunk, block);
    return load_scale(block) * vec4<f32>(dot16(w, v0), dot16(w, v1), dot16(w, v2), dot16(w, v3));
}
