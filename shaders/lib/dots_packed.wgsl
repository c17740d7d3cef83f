// int8 weights times inputs rounded to 8 bits, each 16 columns with a scale of their own: four products an instruction.
alias Weights = vec4<u32>;
struct Columns { q: vec4<u32>, scale: f32 }
fn bytes(v: vec4<f32>) -> u32 { return pack4xI8(vec4<i32>(round(v))); }
fn taken(v: mat4x4<f32>) -> Columns {
    let four = max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3])));
    let most = max(max(four.x, four.y), max(four.z, four.w));
    let rate = select(0.0, 127.0 / most, most > 1e-30);
    return Columns(vec4<u32>(bytes(v[0] * rate), bytes(v[1] * rate), bytes(v[2] * rate), bytes(v[3] * rate)), most / (127.0 * 127.0));
}
fn weights16(chunk: u32, about: About) -> Weights { return words(chunk); }
fn dot16(w: Weights, v: Columns) -> f32 {
    return v.scale * f32(dot4I8Packed(w.x, v.q.x) + dot4I8Packed(w.y, v.q.y) + dot4I8Packed(w.z, v.q.z) + dot4I8Packed(w.w, v.q.w));
}
