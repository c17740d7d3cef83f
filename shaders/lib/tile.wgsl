//!include lib/input_{share}.wgsl
// Where a matrix lies among the weights: its rows, quads of columns, 16-column chunks and blocks of a row; its first chunk and block.
struct Matrix { rows: u32, quads: u32, chunks: u32, blocks: u32, at: u32, block: u32 }
// What every tile needs: a product over one chunk.
// Accumulators live in named variables: SwiftShader keeps indexed arrays in memory, which costs a factor of ten.
fn dot16(w: mat4x4<f32>, v: mat4x4<f32>) -> f32 {
    return dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]);
}
