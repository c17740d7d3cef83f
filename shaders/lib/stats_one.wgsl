// Mean and 1/std of a row of x, computed by every invocation for itself: no barrier, which is what software adapters want.
fn row_stats(row: u32, lane: u32) -> vec2<f32> {
    let base = row * (C / 4u);
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < C / 4u; i++) { sum += x[base + i]; }
    let mean = dot(sum, vec4<f32>(1.0)) / f32(C);
    var square = vec4<f32>(0.0);
    for (var i = 0u; i < C / 4u; i++) {
        let d = x[base + i] - mean;
        square += d * d;
    }
    return vec2<f32>(mean, inverseSqrt(dot(square, vec4<f32>(1.0)) / f32(C) + 1e-5));
}
