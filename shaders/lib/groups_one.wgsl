//!include lib/groups_there.wgsl
//!include lib/ranks_alone.wgsl
