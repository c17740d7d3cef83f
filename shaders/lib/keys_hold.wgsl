//!include lib/keys.wgsl
// 16 keys at a time, in four named variables: indexed arrays would live in memory.
const KEYS4: u32 = 4u;
var<private> s0: mat4x4<f32>;
var<private> s1: mat4x4<f32>;
var<private> s2: mat4x4<f32>;
var<private> s3: mat4x4<f32>;

fn hold(at: u32) {
    s0 = load_keys(at);
    s1 = load_keys(at + 4u * N4);
    s2 = load_keys(at + 8u * N4);
    s3 = load_keys(at + 12u * N4);
}
fn release(at: u32) {
    store_keys(at, s0);
    store_keys(at + 4u * N4, s1);
    store_keys(at + 8u * N4, s2);
    store_keys(at + 12u * N4, s3);
}
