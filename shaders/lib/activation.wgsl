// Activations by number; py_rwkv/kernels/activation.py has the same list.
fn activate(kind: u32, v: f32) -> f32 {
    switch kind {
        case 1u: { return tanh(clamp(v, -15.0, 15.0)); }  // some drivers return NaN for large arguments
        case 2u: { return 1.0 / (1.0 + exp(-v)); }
        case 3u: { let r = max(v, 0.0); return r * r; }
        case 4u: { return v / (1.0 + exp(-max(v, -80.0))); }  // silu; exp(88) is already infinite
        default: { return v; }
    }
}
