// Entry `at` of `rows`, an index of 16 or 32 bits an entry: which stored row stands for row `at` of a matrix.
fn stored_row(at: u32) -> u32 {
    let bit = at * call.BITS;
    return (rows[bit / 32u] >> (bit % 32u)) & (0xffffffffu >> (32u - call.BITS));
}
