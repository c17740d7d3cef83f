// The output row by row: `count` of the four, of which the last may be past the end.
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
fn put(at: u32, count: u32, value: vec4<f32>) {
    out[at] = value.x;
    if (count > 1u) { out[at + 1u] = value.y; }
    if (count > 2u) { out[at + 2u] = value.z; }
    if (count > 3u) { out[at + 3u] = value.w; }
}
fn add(at: u32, count: u32, value: vec4<f32>) {
    out[at] += value.x;
    if (count > 1u) { out[at + 1u] += value.y; }
    if (count > 2u) { out[at + 2u] += value.z; }
    if (count > 3u) { out[at + 3u] += value.w; }
}
