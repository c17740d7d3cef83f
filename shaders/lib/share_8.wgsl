enable subgroups;
// A subgroup of exactly SHARE invocations loads 16 numbers that all of them need, each some, and hands them round. Software adapters load for one invocation after the
// other, so loads are what a product costs there; handing round is one instruction.
const SHARE: u32 = 8u;

// All 16 numbers, of which invocation l loaded those at l, SHARE + l, …
fn spread16(mine: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        vec4<f32>(subgroupBroadcast(mine.x, 0u), subgroupBroadcast(mine.x, 1u), subgroupBroadcast(mine.x, 2u), subgroupBroadcast(mine.x, 3u)),
        vec4<f32>(subgroupBroadcast(mine.x, 4u), subgroupBroadcast(mine.x, 5u), subgroupBroadcast(mine.x, 6u), subgroupBroadcast(mine.x, 7u)),
        vec4<f32>(subgroupBroadcast(mine.y, 0u), subgroupBroadcast(mine.y, 1u), subgroupBroadcast(mine.y, 2u), subgroupBroadcast(mine.y, 3u)),
        vec4<f32>(subgroupBroadcast(mine.y, 4u), subgroupBroadcast(mine.y, 5u), subgroupBroadcast(mine.y, 6u), subgroupBroadcast(mine.y, 7u)));
}
// What the first four invocations have, handed round.
fn first4(v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u));
}
fn next4(v: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u));
}
