// One invocation per (ROWS rows of one head's state, run).
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = (group.x * WG + local) * ROWS;  // first of ROWS value channels, all in one head
    if (c >= call.C) { return; }
    let head4 = c / N * N4;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    let at = (run.slot * call.C + c) * N4;
    var s: array<vec4<f32>, ROWS * N4>;
    for (var i = 0u; i < ROWS * N4; i++) { s[i] = state[at + i]; }
    for (var row = first; row <= run.last; row++) {
        let base_in = row * 6u * (call.C / 4u) + head4;
        let r_at = row * (call.WIDTH / 4u) + head4;
        for (var j = 0u; j < ROWS; j++) {
            let v_at = (row * 6u + 2u) * call.C + c + j;
            let v = inputs[v_at / 4u][v_at % 4u];
            var sum = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) { sum += s[j * N4 + n] * inputs[base_in + 3u * (call.C / 4u) + n]; }
            let sa = dot(sum, vec4<f32>(1.0));
            var out = vec4<f32>(0.0);
            for (var n = 0u; n < N4; n++) {
                let next = s[j * N4 + n] * inputs[base_in + n] + sa * inputs[base_in + 4u * (call.C / 4u) + n] + v * inputs[base_in + call.C / 4u + n];
                s[j * N4 + n] = next;
                out += next * projected[r_at + n];
            }
            y[row * call.C + c + j] = dot(out, vec4<f32>(1.0));
        }
    }
    for (var i = 0u; i < ROWS * N4; i++) { state[at + i] = s[i]; }
}
