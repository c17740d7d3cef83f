//!include lib/keys.wgsl
//!include lib/keys_step.wgsl
// 4 keys at a time: for head sizes that are no multiple of 16.
const KEYS4: u32 = 1u;
var<private> s0: mat4x4<f32>;

fn hold(at: u32) { s0 = load_keys(at); }
fn release(at: u32) { store_keys(at, s0); }
fn advance(row: u32, key: u32, v: vec4<f32>, lane: u32) -> vec4<f32> { return advance_keys(&s0, row, key, v); }
