// The code among those near `start` with the least Σ (scale · rounded(x / scale) − x)², the first of equals.
fn search(start: i32) -> i32 {
    var offsets = OFFSETS;
    var best = 0;
    var least = 0.0;
    for (var o = 0u; o < OFFSET_COUNT; o++) {
        let code = clamp(start + offsets[o], 0, 255);
        let s = scale_of(code);
        let inverse = inverse_of(code);
        var e = 0.0;
        for (var i = 0u; i < 8u; i++) {
            let d = exact(exact(rounded(exact(x[i] * inverse))) * s) - x[i];
            e = in_order(exactly(e), exact(d * d));
        }
        if (o == 0u || e < least) {
            best = code;
            least = e;
        }
    }
    return best;
}
