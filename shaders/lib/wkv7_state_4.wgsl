//!include lib/share_4.wgsl
//!include lib/wkv7_state_shared.wgsl
