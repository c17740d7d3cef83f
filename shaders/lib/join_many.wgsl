//!include lib/heads_alone.wgsl
// What the invocations of a workgroup wrote to storage is now visible to all of them.
fn join() { storageBarrier(); }
