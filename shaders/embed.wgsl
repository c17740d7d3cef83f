// embed: x[t] = E[token_t]; ln0 is folded into the table.                                            py_rwkv/kernels/embed.py
// One invocation per (16 channels, row). A table larger than one binding comes in slabs: this call serves tokens FIRST … FIRST + COUNT.
const C: u32 = 256u;
const CHUNKS: u32 = 16u;
const BLOCKS: u32 = 4u;
const FIRST: u32 = 0u;
const COUNT: u32 = 65536u;
const WG: u32 = 64u;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;       // [rows, C]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = group.x * WG + local;
    let row = group.y;
    let entry = batch.entries[row].token - FIRST;  // wraps around below FIRST
    if (chunk >= CHUNKS || entry >= COUNT) { return; }
    let w = load16(entry * CHUNKS + chunk) * load_scale(entry * BLOCKS + chunk / 4u);
    for (var i = 0u; i < 4u; i++) {
        let c = chunk * 4u + i;
        if (c < C / 4u) { x[row * (C / 4u) + c] = w[i]; }
    }
}
