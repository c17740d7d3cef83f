//!include lib/share_4.wgsl
//!include lib/keys_shared.wgsl
