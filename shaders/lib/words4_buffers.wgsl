// Words of weights, four at a time.
@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>;

fn words(at: u32) -> vec4<u32> { return weights[at]; }
