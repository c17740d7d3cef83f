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
// Their part of y, which reads the old state; `key`: the 4 keys' place among the C / 4 of a row.
fn advance_keys(s: ptr<private, mat4x4<f32>>, row: u32, key: u32, v: vec4<f32>) -> vec4<f32> {
    let r = projected[row * (WIDTH / 4u) + key];
    let k = projected[row * (WIDTH / 4u) + SEGMENT / 4u + key];
    let w = decay[row * DYNAMIC * (C / 4u) + key];
    let old = *s;
    *s = mat4x4<f32>(old[0] * w.x + k.x * v, old[1] * w.y + k.y * v, old[2] * w.z + k.z * v, old[3] * w.w + k.w * v);
    return old * r + dot(r * vectors[key], k) * v;
}
