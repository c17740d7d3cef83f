//!include lib/share_8.wgsl
//!include lib/stats_shared.wgsl
