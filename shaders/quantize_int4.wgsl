// quantize_int4: q, scale = the int4 encoding of rows of a matrix; py_rwkv/quant/int4.py says how             py_rwkv/kernels/quantize.py
// One invocation per block of 32 columns.
const CAPACITY: u32 = 65536u; // blocks
const WG: u32 = 64u;
//!include lib/quantize.wgsl
@group(0) @binding(3) var<storage, read_write> q: array<u32>;             // [rows, stored columns] numbers, eight to a word (lib/pack4.wgsl)
@group(0) @binding(4) var<storage, read_write> scale: array<u32>;         // [rows, blocks] the code of the scale, above it the zero point in sixteenths

const REFITS: u32 = 2u;
const OFFSETS = array<i32, 5>(0, -1, -2, -3, 1);
//!include lib/pack4.wgsl

fn numbers(y: vec4<f32>, zero: f32) -> vec4<f32> { return clamp(round(y + zero), vec4(0.0), vec4(15.0)); }

fn zero_near(wanted: f32, unit: f32) -> f32 { return clamp(round(wanted * (1.0 / unit)) * unit, 0.0, 15.0); }

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (!load(id.x)) { return; }
    let start = code_of((high - low) * (1.0 / 15.0));
    let unit = select(0.0625, 1.0, x[7].w == 0.0); // where columns are padding, zero is exact
    var offsets = OFFSETS;
    var best = 0;
    var best_zero = 0.0;
    var least = 0.0;
    for (var o = 0u; o < 5u; o++) {
        let code = clamp(start + offsets[o], 0, 255);
        let s = scale_of(code);
        let inverse = inverse_of(code);
        var zero = zero_near(7.5 - exactly((low + high) * (0.5 * inverse)), unit);
        for (var refit = 0u; refit <= REFITS; refit++) {
            var e = 0.0;
            var off = 0.0;
            for (var i = 0u; i < 8u; i++) {
                let y = exact(x[i] * inverse);
                let n = numbers(y, zero);
                let d = exact((n - zero) * s) - x[i];
                e = in_order(exactly(e), exact(d * d));
                off = in_order(exactly(off), n - y);
            }
            if ((o == 0u && refit == 0u) || e < least) {
                best = code;
                best_zero = zero;
                least = e;
            }
            zero = zero_near(off * 0.03125, unit);
        }
    }
    scale[id.x] = u32(best) | (u32(best_zero * 16.0) << 8u);
    let inverse = inverse_of(best);
    for (var i = 0u; i < min(4u, (shape.z - column) / 8u); i++) {
        q[(row * shape.z + column) / 8u + i] =
            pack4(vec4<u32>(numbers(exact(x[2u * i] * inverse), best_zero)), vec4<u32>(numbers(exact(x[2u * i + 1u] * inverse), best_zero)));
    }
}
