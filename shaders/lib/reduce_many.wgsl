// LANES neighbouring invocations share a dot product; one barrier, then lane l sums the outputs l, l + LANES, …
var<workgroup> sums: array<f32, ROWS * TOKENS * WG>;

fn reduce(lane: u32, local: u32) {
    for (var i = 0u; i < ROWS * TOKENS; i++) { sums[i * WG + local] = acc[i]; }
    workgroupBarrier();
}
fn reduced(i: u32, local: u32) -> f32 {
    let base = i * WG + local / LANES * LANES;
    var sum = 0.0;
    for (var l = 0u; l < LANES; l++) { sum += sums[base + l]; }
    return sum;
}
