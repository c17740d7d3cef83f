// One invocation owns its tile: nothing to reduce. `reduced(t)`: the rows of token t.
fn reduce(local: u32) {}
fn reduced(t: u32, local: u32) -> vec4<f32> { return column(t); }
