// LANES neighbouring invocations share a tile; one barrier, then lane l sums the outputs l, l + LANES, …
var<workgroup> sums: array<Acc, WG>;

fn reduce(local: u32) {
    sums[local] = acc;
    workgroupBarrier();
}
fn reduced(i: u32, local: u32) -> f32 {
    let base = local / LANES * LANES;
    var sum = 0.0;
    for (var l = 0u; l < LANES; l++) { sum += element(sums[base + l], i); }
    return sum;
}
