// quantize_nf4: q, scale = the nf4 encoding of rows of a matrix; py_rwkv/quant/nf4.py says how               py_rwkv/kernels/quantize.py
// One invocation per block of 32 columns.
const CAPACITY: u32 = 65536u; // blocks
const WG: u32 = 64u;
const V0: f32 = -1.000; // the codebook: quant.nf4.VALUES
const V1: f32 = -0.875;
const V2: f32 = -0.750;
const V3: f32 = -0.625;
const V4: f32 = -0.500;
const V5: f32 = -0.375;
const V6: f32 = -0.250;
const V7: f32 = -0.125;
const V8: f32 = 0.125;
const V9: f32 = 0.250;
const V10: f32 = 0.375;
const V11: f32 = 0.500;
const V12: f32 = 0.625;
const V13: f32 = 0.750;
const V14: f32 = 0.875;
const V15: f32 = 1.000;
//!include lib/quantize.wgsl
@group(0) @binding(3) var<storage, read_write> q: array<u32>;             // [rows, stored columns] numbers of values, eight to a word (lib/pack4.wgsl)
@group(0) @binding(4) var<storage, read_write> scale: array<u32>;         // [rows, blocks] the code of the scale

const OFFSET_COUNT: u32 = 6u;
const OFFSETS = array<i32, 6>(0, -1, -2, -3, -4, 1);
//!include lib/quantize_search.wgsl
//!include lib/pack4.wgsl

var<private> values: array<f32, 16> = array<f32, 16>(V0, V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, V13, V14, V15);

// the number of the nearest value, the lower one in the middle
fn numbers(v: vec4<f32>) -> vec4<u32> {
    var n = vec4(0u);
    for (var i = 0u; i < 15u; i++) { n += vec4<u32>(v > vec4((values[i + 1u] + values[i]) * 0.5)); }
    return n;
}

fn rounded(v: vec4<f32>) -> vec4<f32> {
    let n = numbers(v);
    return vec4(values[n.x], values[n.y], values[n.z], values[n.w]);
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (!load(id.x)) { return; }
    let code = search(code_of(largest));
    scale[id.x] = u32(code);
    let inverse = inverse_of(code);
    for (var i = 0u; i < min(4u, (shape.z - column) / 8u); i++) {
        q[(row * shape.z + column) / 8u + i] = pack4(numbers(exact(x[2u * i] * inverse)), numbers(exact(x[2u * i + 1u] * inverse)));
    }
}
