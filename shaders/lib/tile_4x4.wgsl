//!include lib/tile.wgsl
// 4 weight rows × 4 tokens: each decoded chunk of weights serves four tokens. `acc`: a row per column, a token per component.
const TOKENS: u32 = 4u;
alias Acc = mat4x4<f32>;
var<private> acc: Acc;

fn partial4(row: u32, chunk: u32, v0: mat4x4<f32>, v1: mat4x4<f32>, v2: mat4x4<f32>, v3: mat4x4<f32>) -> vec4<f32> {
    let block = row * BLOCKS + chunk / 2u;
    let w = load16(row * CHUNKS + chunk, block);
    return load_scale(block) * vec4<f32>(dot16(w, v0), dot16(w, v1), dot16(w, v2), dot16(w, v3));
}
fn alone(r: vec4<u32>, base: u32, lane: u32) {  // a lone token, e.g. the last one of a prompt before the head
    var sum = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v = input16(base, chunk);
        sum += vec4<f32>(partial1(r.x, chunk, v), partial1(r.y, chunk, v), partial1(r.z, chunk, v), partial1(r.w, chunk, v));
    }
    let zero = vec3<f32>(0.0);
    acc = Acc(vec4<f32>(sum.x, zero), vec4<f32>(sum.y, zero), vec4<f32>(sum.z, zero), vec4<f32>(sum.w, zero));
}
fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(M - 1u));
    if (tokens == 1u) {
        alone(r, base, lane);
        return;
    }
    let b = base + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(tokens - 1u)) * stride;
    var r0 = vec4<f32>(0.0);
    var r1 = vec4<f32>(0.0);
    var r2 = vec4<f32>(0.0);
    var r3 = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v0 = input16(b.x, chunk);
        let v1 = input16(b.y, chunk);
        let v2 = input16(b.z, chunk);
        let v3 = input16(b.w, chunk);
        r0 += partial4(r.x, chunk, v0, v1, v2, v3);
        r1 += partial4(r.y, chunk, v0, v1, v2, v3);
        r2 += partial4(r.z, chunk, v0, v1, v2, v3);
        r3 += partial4(r.w, chunk, v0, v1, v2, v3);
    }
    acc = Acc(r0, r1, r2, r3);
}
fn element(value: Acc, i: u32) -> f32 { return value[i / 4u][i % 4u]; }
