// What the quantize_* kernels share: rows as their file has them, an invocation's block of 32 columns, and the grid of scales (py_rwkv/quant/blocks.py).
// The bytes are numpy's on every device: sums go from the first column to the last, nothing is divided, and `exact` stands wherever WGSL would let a
// device fuse or reorder.
@group(0) @binding(1) var<storage, read> shape: vec4<u32>;                // rows, columns in the file, stored columns (a multiple of 16), blocks a row
@group(0) @binding(2) var<storage, read> source: array<u32>;              // [rows, columns] f32, or two f16 or bf16 to a word
//!include lib/source_{dtype}.wgsl

const BLOCK: u32 = 32u;
const EXPONENT: u32 = 0x37800000u; // of the smallest scale, 2^-16

var<private> x: array<vec4<f32>, 8>;
var<private> row: u32;
var<private> column: u32; // the block's first
var<private> largest: f32;
var<private> low: f32;
var<private> high: f32;
var<private> veil: u32; // zero, but no compiler knows

fn exact(v: vec4<f32>) -> vec4<f32> { return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ vec4(veil)); }

fn exactly(v: f32) -> f32 { return bitcast<f32>(bitcast<u32>(v) ^ veil); }

fn in_order(total: f32, v: vec4<f32>) -> f32 { return exactly(exactly(exactly(total + v.x) + v.y) + v.z) + v.w; }

fn value(c: u32) -> f32 {
    if (c >= shape.y) { return 0.0; }
    return number(row * shape.y + c);
}

// x := the block; false if there is no such block
fn load(block: u32) -> bool {
    veil = shape.w >> 31u;
    row = block / shape.w;
    column = (block % shape.w) * BLOCK;
    if (block >= CAPACITY || row >= shape.x) { return false; }
    for (var i = 0u; i < 8u; i++) {
        let c = column + 4u * i;
        let v = vec4(value(c), value(c + 1u), value(c + 2u), value(c + 3u));
        x[i] = v;
        low = min(low, min(min(v.x, v.y), min(v.z, v.w)));
        high = max(high, max(max(v.x, v.y), max(v.z, v.w)));
    }
    largest = max(-low, high);
    return true;
}

fn scale_of(code: i32) -> f32 { return bitcast<f32>((u32(code) << 20u) + EXPONENT); }

fn code_of(s: f32) -> i32 { return (bitcast<i32>(s) - i32(EXPONENT) + (1 << 19u)) >> 20u; }

// 1 / scale_of(code), rounded to nearest on every device: a scale has four significant bits
fn inverse_of(code: i32) -> f32 {
    var eighths = array<f32, 8>(1.0, 8.0 / 9.0, 0.8, 8.0 / 11.0, 8.0 / 12.0, 8.0 / 13.0, 8.0 / 14.0, 8.0 / 15.0);
    return eighths[u32(code) & 7u] * bitcast<f32>((143u - (u32(code) >> 3u)) << 23u);
}
