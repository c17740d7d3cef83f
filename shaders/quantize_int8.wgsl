// quantize_int8: q, scale = the int8 encoding of rows of a matrix; py_rwkv/quant/int8.py says how             py_rwkv/kernels/quantize.py
// One invocation per block of 32 columns.
const CAPACITY: u32 = 65536u; // blocks
const WG: u32 = 64u;
//!include lib/quantize.wgsl
@group(0) @binding(3) var<storage, read_write> q: array<u32>;             // [rows, stored columns] i8, four to a word
@group(0) @binding(4) var<storage, read_write> scale: array<u32>;         // [rows, blocks] the code of the scale

const OFFSET_COUNT: u32 = 5u;
const OFFSETS = array<i32, 5>(-1, 0, 1, 2, 3);
//!include lib/quantize_search.wgsl

fn numbers(v: vec4<f32>) -> vec4<f32> { return clamp(round(v * 127.0), vec4(-127.0), vec4(127.0)); }

fn rounded(v: vec4<f32>) -> vec4<f32> { return numbers(v) * (1.0 / 127.0); }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (!load(id.x)) { return; }
    let code = search(code_of(largest));
    scale[id.x] = u32(code);
    let inverse = inverse_of(code);
    for (var i = 0u; i < min(8u, (shape.z - column) / 4u); i++) {
        let n = vec4<u32>(vec4<i32>(numbers(exact(x[i] * inverse)))) & vec4(255u);
        q[(row * shape.z + column) / 4u + i] = n.x | (n.y << 8u) | (n.z << 16u) | (n.w << 24u);
    }
}
