// Mean and 1/std of a row of x, computed by every subgroup for itself: no barrier.
fn row_stats(row: u32, local: u32) -> vec2<f32> {
    let base = row * (call.C / 4u);
    let end = base + call.C / 4u;
    var sum = vec4<f32>(0.0);
    for (var i = base + local % SHARE; i < end; i += SHARE) { sum += x[i]; }
    let mean = subgroupAdd(dot(sum, vec4<f32>(1.0))) / f32(call.C);
    var square = vec4<f32>(0.0);
    for (var i = base + local % SHARE; i < end; i += SHARE) {
        let d = x[i] - mean;
        square += d * d;
    }
    return vec2<f32>(mean, inverseSqrt(subgroupAdd(dot(square, vec4<f32>(1.0))) / f32(call.C) + 1e-5));
}
