// Nothing gained by a texture.
//!include lib/scales_buffers.wgsl
