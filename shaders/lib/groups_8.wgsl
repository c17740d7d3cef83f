//!include lib/share_8.wgsl
//!include lib/groups_shared.wgsl
fn shared_before(other: f32, id: u32, mine: f32, my_id: u32) -> vec4<u32> {
    return before(
        vec4<f32>(subgroupBroadcast(other, 0u), subgroupBroadcast(other, 1u), subgroupBroadcast(other, 2u), subgroupBroadcast(other, 3u)),
        vec4<u32>(subgroupBroadcast(id, 0u), subgroupBroadcast(id, 1u), subgroupBroadcast(id, 2u), subgroupBroadcast(id, 3u)), mine, my_id) + before(
        vec4<f32>(subgroupBroadcast(other, 4u), subgroupBroadcast(other, 5u), subgroupBroadcast(other, 6u), subgroupBroadcast(other, 7u)),
        vec4<u32>(subgroupBroadcast(id, 4u), subgroupBroadcast(id, 5u), subgroupBroadcast(id, 6u), subgroupBroadcast(id, 7u)), mine, my_id);
}
