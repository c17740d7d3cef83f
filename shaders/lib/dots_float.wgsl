// Products of floats. `Columns`: 16 columns of an input; `Weights`: those of a weight row, still to be multiplied by the scale of their block.
alias Columns = mat4x4<f32>;
alias Weights = mat4x4<f32>;
fn taken(v: mat4x4<f32>) -> Columns { return v; }
fn weights16(chunk: u32, about: About) -> Weights { return load16(chunk, about); }
fn dot16(w: Weights, v: Columns) -> f32 {
    return dot(w[0], v[0]) + dot(w[1], v[1]) + dot(w[2], v[2]) + dot(w[3], v[3]);
}
