// What one replay works on: rows (tokens) laid out run after run. py_rwkv/program.py, Step.encode
struct Entry {
    token: u32,   // of row i
    slot: u32,    // state slot of row i
    first: u32,   // first and last row of the run that row i belongs to
    last: u32,
    run: u32,     // first row of the i-th run
    output: u32,  // row of the i-th output
    masked: u32,  // 1: only tokens of the i-th row of masks may be candidates of the i-th output
    pad1: u32,
}
struct Step { rows: u32, runs: u32, outputs: u32, pad: u32, entries: array<Entry, 128> }
