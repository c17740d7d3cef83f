// One invocation per (row of one head's state, run); those of a subgroup, rows of the same head, load together what all need. N is 64: four times 16 keys,
// in named variables, because indexed arrays would live in memory. ROWS is 1, and C a multiple of WG.
var<private> s0: mat4x4<f32>;
var<private> s1: mat4x4<f32>;
var<private> s2: mat4x4<f32>;
var<private> s3: mat4x4<f32>;

fn load_state(at: u32) -> mat4x4<f32> { return mat4x4<f32>(state[at], state[at + 1u], state[at + 2u], state[at + 3u]); }
fn store_state(at: u32, s: mat4x4<f32>) {
    for (var i = 0u; i < 4u; i++) { state[at + i] = s[i]; }
}
// 16 numbers from quad `at` on.
fn inputs16(at: u32, local: u32) -> mat4x4<f32> {
    let first = at + local % SHARE / 4u;
    let c = local % 4u;
    var mine = vec4<f32>(inputs[first][c], inputs[first + SHARE / 4u][c], 0.0, 0.0);
    if (SHARE == 4u) {
        mine.z = inputs[first + 2u][c];
        mine.w = inputs[first + 3u][c];
    }
    return spread16(mine);
}
fn receptance16(at: u32, local: u32) -> mat4x4<f32> {
    let first = at + local % SHARE / 4u;
    let c = local % 4u;
    var mine = vec4<f32>(projected[first][c], projected[first + SHARE / 4u][c], 0.0, 0.0);
    if (SHARE == 4u) {
        mine.z = projected[first + 2u][c];
        mine.w = projected[first + 3u][c];
    }
    return spread16(mine);
}
fn dot16(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 { return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]); }
// The part of y that 16 keys make, after their step. `at`: their w among the inputs; `r_at`: their receptance.
fn advance(s: ptr<private, mat4x4<f32>>, at: u32, r_at: u32, sa: f32, v: f32, local: u32) -> f32 {
    let next = call.C / 4u;
    let w = inputs16(at, local);
    let old = *s;
    let change = sa * inputs16(at + 4u * next, local) + v * inputs16(at + next, local);
    let now = mat4x4<f32>(old[0] * w[0], old[1] * w[1], old[2] * w[2], old[3] * w[3]) + change;
    *s = now;
    return dot16(now, receptance16(r_at, local));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let c = group.x * WG + local;  // value channel
    let head4 = group.x * WG / N * N4;
    let first = batch.entries[group.y].run;
    let run = batch.entries[first];
    if (halted(run.slot)) { return; }
    let at = (run.slot * call.C + c) * N4;
    s0 = load_state(at);
    s1 = load_state(at + 4u);
    s2 = load_state(at + 8u);
    s3 = load_state(at + 12u);
    for (var row = first; row <= run.last; row++) {
        let base = row * 6u * (call.C / 4u) + head4;
        let r_at = row * (call.WIDTH / 4u) + head4;
        let v = inputs[base - head4 + (2u * call.C + c) / 4u][c % 4u];
        let a_at = base + 3u * (call.C / 4u);
        let sa = dot16(s0, inputs16(a_at, local)) + dot16(s1, inputs16(a_at + 4u, local))
            + dot16(s2, inputs16(a_at + 8u, local)) + dot16(s3, inputs16(a_at + 12u, local));
        y[row * call.C + c] = advance(&s0, base, r_at, sa, v, local) + advance(&s1, base + 4u, r_at + 4u, sa, v, local)
            + advance(&s2, base + 8u, r_at + 8u, sa, v, local) + advance(&s3, base + 12u, r_at + 12u, sa, v, local);
    }
    store_state(at, s0);
    store_state(at + 4u, s1);
    store_state(at + 8u, s2);
    store_state(at + 12u, s3);
}
