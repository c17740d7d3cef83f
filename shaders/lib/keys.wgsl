// 4 keys × 4 values of a head's state pass one row. A column is a key, its components are values; state is [slots, H, N key, N value].
fn load_keys(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(state[at], state[at + N4], state[at + 2u * N4], state[at + 3u * N4]);
}
fn store_keys(at: u32, s: mat4x4<f32>) {
    state[at] = s[0];
    state[at + N4] = s[1];
    state[at + 2u * N4] = s[2];
    state[at + 3u * N4] = s[3];
}
