//!include lib/step_types.wgsl
@group(0) @binding(0) var<uniform> batch: Step;
// A run whose slot was taken away (shaders/sample.wgsl) is over: nothing may touch its state.
fn halted(slot: u32) -> bool { return slot == 0xffffffffu; }
