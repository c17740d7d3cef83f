// f16 weights, two a word: no shader-f16 needed. py_rwkv/quant
//!include lib/words4_{held}.wgsl

fn load16(chunk: u32, about: f32) -> mat4x4<f32> {
    let a = words(2u * chunk);
    let b = words(2u * chunk + 1u);
    return mat4x4<f32>(
        vec4<f32>(unpack2x16float(a.x), unpack2x16float(a.y)), vec4<f32>(unpack2x16float(a.z), unpack2x16float(a.w)),
        vec4<f32>(unpack2x16float(b.x), unpack2x16float(b.y)), vec4<f32>(unpack2x16float(b.z), unpack2x16float(b.w)));
}
alias About = f32;
fn facts(block: u32) -> f32 { return 1.0; }  // no scales
fn scale(about: f32) -> f32 { return 1.0; }
