// One chunk of one weight row times four tokens.
struct Inputs { a: Columns, b: Columns, c: Columns, d: Columns }
struct Inputs8 { low: Inputs, high: Inputs }
fn dots(w: Weights, v: Inputs) -> vec4<f32> { return vec4<f32>(dot16(w, v.a), dot16(w, v.b), dot16(w, v.c), dot16(w, v.d)); }
fn partial4(at: u32, block: u32, chunk: u32, v: Inputs) -> vec4<f32> {
    let about = facts(block + chunk / 2u);
    return scale(about) * dots(weights16(at + chunk, about), v);
}
// Column t % 4, without an index into an array: that would live in memory.
fn one_of(t: u32, v: mat4x4<f32>) -> vec4<f32> {
    let odd = (t & 1u) != 0u;
    return select(select(v[0], v[1], odd), select(v[2], v[3], odd), (t & 2u) != 0u);
}
