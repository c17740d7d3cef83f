// layer_mix: LayerNorm, token shift and S interpolations: what every sub-block starts with.           py_rwkv/kernels/layer_mix.py
//   h = LN(x) · gain + bias;  out[s, t] = h[t] + (h[t−1] − h[t]) · mu[s];  h before a run's first row comes from the state
//   KEEP: also out[S, t] = h[t−1] − h[t];   NORM = 0: x is h already
// One invocation per (4 · PER channels, row). The row that starts a run also stores the run's last h: it alone has read the old one.
const PER: u32 = 4u;
const WG: u32 = 16u;
struct Call {
    C: u32,
    S: u32,
    KEEP: u32,
    NORM: u32,
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // [rows, C]
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;          // [2, C] gain, bias
@group(0) @binding(3) var<storage, read> mu: array<vec4<f32>>;            // [S, C]
@group(0) @binding(4) var<storage, read_write> prev: array<vec4<f32>>;    // [slots, C]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;     // [S + KEEP, rows, C]
//!include lib/stats_{reduce}.wgsl

fn normalized(row: u32, c: u32, stats: vec2<f32>) -> vec4<f32> {
    if (call.NORM == 0u) { return x[row * (call.C / 4u) + c]; }
    return (x[row * (call.C / 4u) + c] - stats.x) * stats.y * norm[c] + norm[call.C / 4u + c];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = group.y;
    let entry = batch.entries[row];
    let starts = row == entry.first;
    let other = select(row - 1u, entry.last, starts);
    let stats = row_stats(row, local);
    let other_stats = row_stats(other, local);
    for (var i = 0u; i < PER; i++) {
        let c = (group.x * WG + local) * PER + i;
        if (c >= call.C / 4u) { break; }
        let h = normalized(row, c, stats);
        let h_other = normalized(other, c, other_stats);
        var before = h_other;
        if (starts && !halted(entry.slot)) {
            before = prev[entry.slot * (call.C / 4u) + c];
            prev[entry.slot * (call.C / 4u) + c] = h_other;
        }
        for (var s = 0u; s < call.S; s++) {
            out[(s * batch.rows + row) * (call.C / 4u) + c] = h + (before - h) * mu[s * (call.C / 4u) + c];
        }
        if (call.KEEP == 1u) { out[(call.S * batch.rows + row) * (call.C / 4u) + c] = before - h; }
    }
}
