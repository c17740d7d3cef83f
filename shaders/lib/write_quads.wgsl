// The output as quads of rows: all its sizes are multiples of 4.
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;
fn put(at: u32, count: u32, value: vec4<f32>) { out[at / 4u] = value; }
fn add(at: u32, count: u32, value: vec4<f32>) { out[at / 4u] += value; }
