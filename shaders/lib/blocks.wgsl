// Of each 32-column block in `scales`: 4 to a word, the code of its scale. docs/quantization.md
//!include lib/scales_{held}.wgsl

alias About = f32;  // what a product has to know of a block
fn scale_of(code: u32) -> f32 { return bitcast<f32>((code << 20u) + (111u << 23u)); }
fn facts(block: u32) -> f32 { return scale_of((scale_word(block >> 2u) >> ((block & 3u) * 8u)) & 0xffu); }
fn scale(about: f32) -> f32 { return about; }
