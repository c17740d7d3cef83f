// One workgroup per (head, run), one invocation per value channel: its row of the state stays in registers.
var<workgroup> shared_y: array<vec2<f32>, N>;  // y, and the channel's part of the bonus

@compute @workgroup_size(N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head4 = group.x * N4;
    let c = group.x * N + local;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    let at = (run.slot * call.C + c) * N4;
    var s: array<vec4<f32>, N4>;
    for (var n = 0u; n < N4; n++) { s[n] = state[at + n]; }
    for (var row = first; row <= run.last; row++) {
        let base = row * 6u * (call.C / 4u) + head4;
        let r_at = row * (call.WIDTH / 4u) + head4;
        let v = input(row, 2u, c);
        var sum = vec4<f32>(0.0);
        for (var n = 0u; n < N4; n++) { sum += s[n] * inputs[base + 3u * (call.C / 4u) + n]; }
        let sa = dot(sum, vec4<f32>(1.0));
        sum = vec4<f32>(0.0);
        for (var n = 0u; n < N4; n++) {
            s[n] = s[n] * inputs[base + n] + sa * inputs[base + 4u * (call.C / 4u) + n] + v * inputs[base + (call.C / 4u) + n];
            sum += s[n] * projected[r_at + n];
        }
        let y = dot(sum, vec4<f32>(1.0));
        let r = row * call.WIDTH + c;
        shared_y[local] = vec2<f32>(y, projected[r / 4u][r % 4u] * input(row, 1u, c) * vector(5u, c));
        workgroupBarrier();
        var total = vec2<f32>(0.0);  // Σ y, bonus
        for (var n = 0u; n < N; n++) { total += shared_y[n]; }
        let mean = total.x / f32(N);
        var square = 0.0;
        for (var n = 0u; n < N; n++) { square += (shared_y[n].x - mean) * (shared_y[n].x - mean); }
        out[row * call.C + c] = gated(row, c, (y - mean) * inverseSqrt(square / f32(N) + call.EPS), total.y);
        workgroupBarrier();
    }
    for (var n = 0u; n < N4; n++) { state[at + n] = s[n]; }
}
