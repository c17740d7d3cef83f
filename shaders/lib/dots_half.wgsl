enable f16;
// Products in f16: each 16 columns of an input are divided by the largest among them, so that nothing overflows, and rounded to 11 bits, as are their products
// and sums; from there on f32. Weights are at most 1, or what their f16 has.
alias Weights = mat4x4<f16>;
struct Columns { v: mat4x4<f16>, most: f32 }
fn taken(v: mat4x4<f32>) -> Columns {
    let four = max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3])));
    let most = max(max(four.x, four.y), max(four.z, four.w));
    let rate = select(0.0, 1.0 / most, most > 1e-30);
    return Columns(mat4x4<f16>(vec4<f16>(v[0] * rate), vec4<f16>(v[1] * rate), vec4<f16>(v[2] * rate), vec4<f16>(v[3] * rate)), most);
}
fn weights16(chunk: u32, about: About) -> Weights {
    let w = load16(chunk, about);
    return mat4x4<f16>(vec4<f16>(w[0]), vec4<f16>(w[1]), vec4<f16>(w[2]), vec4<f16>(w[3]));
}
fn dot16(w: Weights, v: Columns) -> f32 {
    return v.most * f32(dot(w[0], v.v[0]) + dot(w[1], v.v[1]) + dot(w[2], v.v[2]) + dot(w[3], v.v[3]));
}
