// Activations by number; py_rwkv/kernels/activation.py has the same list. One exp for all: software adapters compute every branch, or compile each one.
fn activate(kind: u32, v: vec4<f32>) -> vec4<f32> {
    if (kind == 0u) { return v; }
    if (kind == 3u) {  // relu²
        let r = max(v, vec4<f32>(0.0));
        return r * r;
    }
    let s = 1.0 / (1.0 + exp(-clamp(select(v, 2.0 * v, kind == 1u), vec4<f32>(-80.0), vec4<f32>(80.0))));  // exp(88) is already infinite
    return select(select(s, v * s, kind == 4u), 2.0 * s - 1.0, kind == 1u);  // 1 tanh, 2 sigmoid, 4 silu
}
