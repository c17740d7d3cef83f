// layer_norm: out[t] = LN(x[t]) · gain + bias, of every row or of those that go through the head.       py_rwkv/kernels/layer_norm.py
const PER: u32 = 4u;
const WG: u32 = 16u;
struct Call {
    C: u32,
    PER_OUTPUT: u32,  // 1: out[j] belongs to the row of output j
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // [rows, C]
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;          // [2, C] gain, bias
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;     // [tokens, C]
//!include lib/stats_{reduce}.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = select(group.y, batch.entries[group.y].output, call.PER_OUTPUT == 1u);
    let stats = row_stats(row, local);
    for (var i = 0u; i < PER; i++) {
        let c = (group.x * WG + local) * PER + i;
        if (c < call.C / 4u) { out[group.y * (call.C / 4u) + c] = (x[row * (call.C / 4u) + c] - stats.x) * stats.y * norm[c] + norm[call.C / 4u + c]; }
    }
}
