//!include lib/tile.wgsl
//!include lib/tile_tokens.wgsl
// 8 weight rows × 4 tokens: each chunk of input serves eight rows. `acc`: a row per element, a token per component.
const ROWS: u32 = 8u;
const TOKENS: u32 = 4u;
alias Acc = array<vec4<f32>, 8>;
var<private> acc: Acc;

fn alone(r: vec4<u32>, q: vec4<u32>, base: u32, lane: u32) {  // a lone token, e.g. the last one of a prompt before the head
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v = input16(base, chunk);
        a += partials(r, chunk, v);
        b += partials(q, chunk, v);
    }
    acc = Acc(a.xxxx, a.yyyy, a.zzzz, a.wwww, b.xxxx, b.yyyy, b.zzzz, b.wwww);
}
fn accumulate(row: u32, base: u32, stride: u32, tokens: u32, lane: u32) {
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(M - 1u));
    let q = min(vec4<u32>(row + 4u, row + 5u, row + 6u, row + 7u), vec4<u32>(M - 1u));
    if (tokens == 1u) {
        alone(r, q, base, lane);
        return;
    }
    let b = base + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(tokens - 1u)) * stride;
    var r0 = vec4<f32>(0.0);
    var r1 = vec4<f32>(0.0);
    var r2 = vec4<f32>(0.0);
    var r3 = vec4<f32>(0.0);
    var r4 = vec4<f32>(0.0);
    var r5 = vec4<f32>(0.0);
    var r6 = vec4<f32>(0.0);
    var r7 = vec4<f32>(0.0);
    for (var chunk = lane; chunk < CHUNKS; chunk += LANES) {
        let v0 = input16(b.x, chunk);
        let v1 = input16(b.y, chunk);
        let v2 = input16(b.z, chunk);
        let v3 = input16(b.w, chunk);
        r0 += partial4(r.x, chunk, v0, v1, v2, v3);
        r1 += partial4(r.y, chunk, v0, v1, v2, v3);
        r2 += partial4(r.z, chunk, v0, v1, v2, v3);
        r3 += partial4(r.w, chunk, v0, v1, v2, v3);
        r4 += partial4(q.x, chunk, v0, v1, v2, v3);
        r5 += partial4(q.y, chunk, v0, v1, v2, v3);
        r6 += partial4(q.z, chunk, v0, v1, v2, v3);
        r7 += partial4(q.w, chunk, v0, v1, v2, v3);
    }
    acc = Acc(r0, r1, r2, r3, r4, r5, r6, r7);
}
fn element(value: Acc, i: u32) -> f32 { return value[i / 4u][i % 4u]; }
