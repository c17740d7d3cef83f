// One invocation owns its tile: nothing to reduce.
fn reduce(local: u32) {}
fn reduced(i: u32, local: u32) -> f32 { return element(acc, i); }
