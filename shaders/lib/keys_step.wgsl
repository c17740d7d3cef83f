// Their part of y, which reads the old state; `key`: the 4 keys' place among the C / 4 of a row.
fn advance_keys(s: ptr<private, mat4x4<f32>>, row: u32, key: u32, v: vec4<f32>) -> vec4<f32> {
    let r = projected[row * (call.WIDTH / 4u) + key];
    let k = projected[row * (call.WIDTH / 4u) + call.SEGMENT / 4u + key];
    let w = decay[row * call.DYNAMIC * (call.C / 4u) + key];
    let old = *s;
    *s = mat4x4<f32>(old[0] * w.x + k.x * v, old[1] * w.y + k.y * v, old[2] * w.z + k.z * v, old[3] * w.w + k.w * v);
    return old * r + dot(r * vectors[key], k) * v;
}
