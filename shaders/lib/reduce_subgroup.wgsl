enable subgroups;
// LANES neighbouring invocations share a tile and are of one subgroup, which is numbered as the workgroup is: each ends up with the whole, without memory and barrier.
// Where an adapter numbers them otherwise, the self-test finds wrong numbers and another form takes over.
fn reduce(local: u32) {
    for (var apart = 1u; apart < LANES; apart *= 2u) {
        for (var k = 0u; k < PARTS; k++) { acc[k] += subgroupShuffleXor(acc[k], apart); }
    }
}
fn reduced(t: u32, local: u32) -> vec4<f32> { return column(t); }
