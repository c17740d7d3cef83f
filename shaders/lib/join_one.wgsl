// One invocation does it all: nothing to wait for.
fn join() {}
