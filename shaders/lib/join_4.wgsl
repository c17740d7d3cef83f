//!include lib/join_shared.wgsl
