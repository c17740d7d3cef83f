// A tile of ROWS weight rows × TOKENS tokens per group of LANES invocations; f32 accumulators. Included by matmul.wgsl and project.wgsl, which
// say where a row's input starts. Weight chunks (16 columns) are dealt to the lanes in turn.
var<private> acc: array<f32, ROWS * TOKENS>;

fn input16(base: u32, chunk: u32) -> mat4x4<f32> {
    let at = base + chunk * 4u;
    if (K % 16u == 0u || chunk + 1u < CHUNKS) { return mat4x4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]); }
    let zero = vec4<f32>(0.0);  // the last chunk reaches past the row's end
    let left = K / 4u - chunk * 4u;
    return mat4x4<f32>(x[at], select(zero, x[at + 1u], left > 1u), select(zero, x[at + 2u], left > 2u), zero);
}

fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    for (var i = 0u; i < ROWS * TOKENS; i++) { acc[i] = 0.0; }
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        var v: array<mat4x4<f32>, TOKENS>;
        for (var t = 0u; t < TOKENS; t++) { v[t] = input16(base + min(t, tokens - 1u) * stride, chunk); }
        for (var r = 0u; r < ROWS; r++) {
            let m = min(row + r, M - 1u);
            let w = load16(m * CHUNKS + chunk);
            let scale = load_scale(m * BLOCKS + chunk / 4u);
            for (var t = 0u; t < TOKENS; t++) {
                acc[r * TOKENS + t] += scale * (dot(w[0], v[t][0]) + dot(w[1], v[t][1]) + dot(w[2], v[t][2]) + dot(w[3], v[t][3]));
            }
        }
    }
}
