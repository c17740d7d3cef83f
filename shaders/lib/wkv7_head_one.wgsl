// One invocation per (head, run), no barrier; `out` holds y until the head's statistics are known.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = (group.x * WG + local) * N;
    if (head >= call.C) { return; }
    let head4 = head / 4u;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    for (var row = first; row <= run.last; row++) {
        let base = row * 6u * (call.C / 4u) + head4;
        let r_at = row * (call.WIDTH / 4u) + head4;
        var mean = 0.0;
        for (var c = head; c < head + N; c++) {
            let at = (run.slot * call.C + c) * N4;
            let v = input(row, 2u, c);
            var sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) { sum += state[at + n] * inputs[base + 3u * (call.C / 4u) + n]; }
            let sa = dot(sum, vec4<f32>(1.0));
            sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) {
                let next = state[at + n] * inputs[base + n] + sa * inputs[base + 4u * (call.C / 4u) + n] + v * inputs[base + (call.C / 4u) + n];
                state[at + n] = next;
                sum += next * projected[r_at + n];
            }
            let y = dot(sum, vec4<f32>(1.0));
            out[row * call.C + c] = y;
            mean += y / f32(N);
        }
        var square = 0.0;
        for (var c = head; c < head + N; c++) { square += (out[row * call.C + c] - mean) * (out[row * call.C + c] - mean); }
        let rate = inverseSqrt(square / f32(N) + call.EPS);
        var bonus = vec4<f32>(0.0);
        for (var n = 0u; n < N4; n++) { bonus += projected[r_at + n] * inputs[base + (call.C / 4u) + n] * vectors[5u * (call.C / 4u) + head4 + n]; }
        for (var c = head; c < head + N; c++) {
            out[row * call.C + c] = gated(row, c, (out[row * call.C + c] - mean) * rate, dot(bonus, vec4<f32>(1.0)));
        }
    }
}
