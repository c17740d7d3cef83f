//!include lib/share_4.wgsl
//!include lib/stats_shared.wgsl
