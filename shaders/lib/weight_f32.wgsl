// f32 weights. py_rwkv/quant
//!include lib/words4_{held}.wgsl

fn four(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(words(at)); }
fn load16(chunk: u32, about: f32) -> mat4x4<f32> {
    return mat4x4<f32>(four(4u * chunk), four(4u * chunk + 1u), four(4u * chunk + 2u), four(4u * chunk + 3u));
}
alias About = f32;
fn facts(block: u32) -> f32 { return 1.0; }  // no scales
fn scale(about: f32) -> f32 { return 1.0; }
