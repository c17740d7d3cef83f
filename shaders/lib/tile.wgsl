//!include lib/input_{share}.wgsl
// Where a matrix lies among the weights: its rows, quads of columns, 16-column chunks and blocks of a row; its first chunk and block.
struct Matrix { rows: u32, quads: u32, chunks: u32, blocks: u32, at: u32, block: u32 }
// What every tile needs: a product over one chunk, for a weight row whose chunks start at `at` and whose blocks start at `block`.
// Accumulators live in named variables: SwiftShader keeps indexed arrays in memory, which costs a factor of ten.
fn dot16(w: mat4x4<f32>, v: mat4x4<f32>) -> f32 {
    return dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]);
}
fn partial1(at: u32, block: u32, chunk: u32, v: mat4x4<f32>) -> f32 {
    let about = facts(block + chunk / 2u);
    return scale(about) * dot16(load16(at + chunk, about), v);
}
// 4 weight rows × 1 token, a row per component. Rows past the end are the last one again.
fn product1(m: Matrix, row: u32, base: u32, local: u32) -> vec4<f32> {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(m.rows - 1u));
    let at = m.at + r * m.chunks;
    let block = m.block + r * m.blocks;
    var sum = vec4<f32>(0.0);
    for (var chunk = first_chunk(local); chunk < m.chunks; chunk += LANES) {
        let v = input16(m.quads, base, chunk, local);
        sum += vec4<f32>(
            partial1(at.x, block.x, chunk, v), partial1(at.y, block.y, chunk, v), partial1(at.z, block.z, chunk, v), partial1(at.w, block.w, chunk, v));
    }
    return sum;
}
