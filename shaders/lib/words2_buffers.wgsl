// Words of weights, two at a time.
@group(0) @binding(1) var<storage, read> weights: array<vec2<u32>>;

fn words(at: u32) -> vec2<u32> { return weights[at]; }
