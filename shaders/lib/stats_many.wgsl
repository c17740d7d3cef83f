// Mean and 1/std of a row of x, computed by the workgroup together.
var<workgroup> sums: array<f32, WG>;

fn workgroup_sum(value: f32, lane: u32) -> f32 {
    sums[lane] = value;
    workgroupBarrier();
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        if (lane < width) { sums[lane] += sums[lane + width]; }
        workgroupBarrier();
    }
    let total = sums[0];
    workgroupBarrier();
    return total;
}
fn row_stats(row: u32, lane: u32) -> vec2<f32> {
    let base = row * (call.C / 4u);
    var sum = vec4<f32>(0.0);
    for (var i = lane; i < call.C / 4u; i += WG) { sum += x[base + i]; }
    let mean = workgroup_sum(dot(sum, vec4<f32>(1.0)), lane) / f32(call.C);
    var square = vec4<f32>(0.0);
    for (var i = lane; i < call.C / 4u; i += WG) {
        let d = x[base + i] - mean;
        square += d * d;
    }
    return vec2<f32>(mean, inverseSqrt(workgroup_sum(dot(square, vec4<f32>(1.0)), lane) / f32(call.C) + 1e-5));
}
