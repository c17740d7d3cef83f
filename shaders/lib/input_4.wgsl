//!include lib/share_4.wgsl
//!include lib/input_shared.wgsl
