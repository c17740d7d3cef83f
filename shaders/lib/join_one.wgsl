//!include lib/heads_alone.wgsl
// One invocation does it all: nothing to wait for.
fn join() {}
