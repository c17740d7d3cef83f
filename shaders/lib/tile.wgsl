//!include lib/input_{share}.wgsl
//!include lib/dots_{dots}.wgsl
// Where a matrix lies among the weights: its rows, quads of columns, 16-column chunks and blocks of a row; its first chunk and block.
struct Matrix { rows: u32, quads: u32, chunks: u32, blocks: u32, at: u32, block: u32 }
// Accumulators of tiles live in named variables: SwiftShader keeps indexed arrays in memory, which costs a factor of ten.
