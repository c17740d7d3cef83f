// embed: out[t] = E[token_t], where ln0 is folded into the table, or LN(x[t]) · gain + bias             py_rwkv/kernels/embed.py
// for a row without a token, which brings its own embedding x.
// One invocation per (16 channels, row). A table larger than one binding comes in slabs: this call serves its rows FIRST … FIRST + COUNT. A table that
// stores repeated rows once has an index: token → row.
const WG: u32 = 64u;
const NO_TOKEN: u32 = 0xffffffffu;
struct Call {
    C: u32,
    CHUNKS: u32,
    BLOCKS: u32,
    FIRST: u32,
    COUNT: u32,
    V: u32,       // tokens that the index has; 0: there is none
    WORDS: u32,
    BITS: u32,    // of an entry
}
@group(0) @binding(15) var<uniform> call: Call;
//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;             // [rows, C]
@group(0) @binding(4) var<storage, read> norm: array<vec4<f32>>;          // [2, C] gain, bias of ln0
@group(0) @binding(5) var<storage, read> rows: array<u32>;                // [V] entries
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;     // [rows, C]
//!include lib/row_index.wgsl
//!include lib/stats_one.wgsl

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let chunk = group.x * WG + local;
    let row = group.y;
    let token = batch.entries[row].token;
    if (chunk >= call.CHUNKS) { return; }
    let entry = select(token, stored_row(token), token < call.V) - call.FIRST;  // wraps around below FIRST
    if (entry < call.COUNT) {
        let about = facts(entry * call.BLOCKS + chunk / 2u);
        let w = load16(entry * call.CHUNKS + chunk, about) * scale(about);
        for (var i = 0u; i < 4u; i++) {
            let c = chunk * 4u + i;
            if (c < call.C / 4u) { out[row * (call.C / 4u) + c] = w[i]; }
        }
    } else if (call.FIRST == 0u && token == NO_TOKEN) {
        let stats = row_stats(row, local);
        for (var c = chunk * 4u; c < min(chunk * 4u + 4u, call.C / 4u); c++) {
            out[row * (call.C / 4u) + c] = (x[row * (call.C / 4u) + c] - stats.x) * stats.y * norm[c] + norm[call.C / 4u + c];
        }
    }
}
