//!include lib/share_8.wgsl
//!include lib/input_shared.wgsl
