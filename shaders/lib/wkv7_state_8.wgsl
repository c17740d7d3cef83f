//!include lib/share_8.wgsl
//!include lib/wkv7_state_shared.wgsl
