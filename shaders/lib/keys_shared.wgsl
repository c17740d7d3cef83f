//!include lib/keys_hold.wgsl
// The invocations of a subgroup, quads of one head's values, load together what belongs to the keys.
fn projected16(at: u32, lane: u32) -> mat4x4<f32> {
    let first = at + lane / 4u;
    let c = lane % 4u;
    var mine = vec4<f32>(projected[first][c], projected[first + SHARE / 4u][c], 0.0, 0.0);
    if (SHARE == 4u) {
        mine.z = projected[first + 2u][c];
        mine.w = projected[first + 3u][c];
    }
    return spread16(mine);
}
fn decay16(at: u32, lane: u32) -> mat4x4<f32> {
    let first = at + lane / 4u;
    let c = lane % 4u;
    var mine = vec4<f32>(decay[first][c], decay[first + SHARE / 4u][c], 0.0, 0.0);
    if (SHARE == 4u) {
        mine.z = decay[first + 2u][c];
        mine.w = decay[first + 3u][c];
    }
    return spread16(mine);
}
// What the bonus u adds to y for 16 keys: each invocation knows some of the products, and their sum is all that is needed.
fn bonus16(r_at: u32, k_at: u32, key: u32, lane: u32) -> f32 {
    let c = lane % 4u;
    var sum = 0.0;
    for (var n = lane / 4u; n < 4u; n += SHARE / 4u) { sum += projected[r_at + n][c] * projected[k_at + n][c] * vectors[key + n][c]; }
    return subgroupAdd(sum);
}
fn advance4(s: ptr<private, mat4x4<f32>>, r: vec4<f32>, k: vec4<f32>, w: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    let old = *s;
    *s = mat4x4<f32>(old[0] * w.x + k.x * v, old[1] * w.y + k.y * v, old[2] * w.z + k.z * v, old[3] * w.w + k.w * v);
    return old * r;
}
fn advance(row: u32, key: u32, v: vec4<f32>, lane: u32) -> vec4<f32> {
    let r_at = row * (call.WIDTH / 4u) + key;
    let k_at = r_at + call.SEGMENT / 4u;
    let r = projected16(r_at, lane);
    let k = projected16(k_at, lane);
    let w = decay16(row * call.DYNAMIC * (call.C / 4u) + key, lane);
    return bonus16(r_at, k_at, key, lane) * v
        + advance4(&s0, r[0], k[0], w[0], v) + advance4(&s1, r[1], k[1], w[1], v) + advance4(&s2, r[2], k[2], w[2], v) + advance4(&s3, r[3], k[3], w[3], v);
}
