// LANES neighbouring invocations share a tile; one barrier, then lane l sums the rows of tokens l, l + LANES, …
var<workgroup> sums: array<vec4<f32>, WG * TOKENS>;

fn reduce(local: u32) {
    for (var t = 0u; t < TOKENS; t++) { sums[local * TOKENS + t] = column(t); }
    workgroupBarrier();
}
fn reduced(t: u32, local: u32) -> vec4<f32> {
    let base = local / LANES * LANES;
    var sum = vec4<f32>(0.0);
    for (var l = 0u; l < LANES; l++) { sum += sums[(base + l) * TOKENS + t]; }
    return sum;
}
