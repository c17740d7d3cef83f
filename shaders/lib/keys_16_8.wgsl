//!include lib/share_8.wgsl
//!include lib/keys_shared.wgsl
