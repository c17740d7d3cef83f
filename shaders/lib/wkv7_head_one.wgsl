// One invocation per (head, run), no barrier; `out` holds y until the head's statistics are known.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = (group.x * WG + local) * N;
    if (head >= C) { return; }
    let head4 = head / 4u;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    for (var row = first; row <= run.last; row++) {
        let base = row * 6u * C4 + head4;
        let r_at = row * (WIDTH / 4u) + head4;
        var mean = 0.0;
        for (var c = head; c < head + N; c++) {
            let at = (run.slot * C + c) * N4;
            let v = input(row, 2u, c);
            var sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) { sum += state[at + n] * inputs[base + 3u * C4 + n]; }
            let sa = dot(sum, vec4<f32>(1.0));
            sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) {
                let next = state[at + n] * inputs[base + n] + sa * inputs[base + 4u * C4 + n] + v * inputs[base + C4 + n];
                state[at + n] = next;
                sum += next * projected[r_at + n];
            }
            let y = dot(sum, vec4<f32>(1.0));
            out[row * C + c] = y;
            mean += y / f32(N);
        }
        var square = 0.0;
        for (var c = head; c < head + N; c++) { square += (out[row * C + c] - mean) * (out[row * C + c] - mean); }
        let rate = inverseSqrt(square / f32(N) + EPS);
        var bonus = vec4<f32>(0.0);
        for (var n = 0u; n < N4; n++) { bonus += projected[r_at + n] * inputs[base + C4 + n] * vectors[5u * C4 + head4 + n]; }
        for (var c = head; c < head + N; c++) {
            out[row * C + c] = gated(row, c, (out[row * C + c] - mean) * rate, dot(bonus, vec4<f32>(1.0)));
        }
    }
}
