// Mean and 1/std of a row of x, computed by every invocation for itself: no barrier, which is what software adapters want.
fn row_stats(row: u32, lane: u32) -> vec2<f32> {
    let base = row * (call.C / 4u);
    let end = base + call.C / 4u;  // not from 0 to a uniform: lavapipe unrolls such loops, compiling the shader anew (30 ms) at every dispatch
    var sum = vec4<f32>(0.0);
    for (var i = base; i < end; i++) { sum += x[i]; }
    let mean = dot(sum, vec4<f32>(1.0)) / f32(call.C);
    var square = vec4<f32>(0.0);
    for (var i = base; i < end; i++) {
        let d = x[i] - mean;
        square += d * d;
    }
    return vec2<f32>(mean, inverseSqrt(dot(square, vec4<f32>(1.0)) / f32(call.C) + 1e-5));
}
