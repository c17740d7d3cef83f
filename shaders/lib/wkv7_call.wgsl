// Sizes and weights of RWKV-7's low-rank functions.
struct Call {
    C: u32,
    SEGMENT: u32,   // C up to a multiple of 16: columns that r, k and v take each
    WIDTH: u32,     // of a projected row: r, k, v, then the low-rank w, a, v, g at the columns below
    FIRST: u32,     // 1 in layer 0: no value residual
    W_IN: u32,
    A_IN: u32,
    V_IN: u32,
    G_IN: u32,
    W_CHUNKS: u32,  // 16-column chunks of a row of w2, a2, v2, g2, and where each matrix starts, in chunks
    A_CHUNKS: u32,
    V_CHUNKS: u32,
    G_CHUNKS: u32,
    W_AT: u32,
    A_AT: u32,
    V_AT: u32,
    G_AT: u32,
    W_SCALE: u32,   // where each matrix's scales start
    A_SCALE: u32,
    V_SCALE: u32,
    G_SCALE: u32,
}
@group(0) @binding(15) var<uniform> call: Call;

// Of w, a, v, nothing and g: column of the activations, chunks of a row, first chunk and first block of the matrix.
fn place(kind: u32) -> vec4<u32> {
    if (kind == 0u) { return vec4<u32>(call.W_IN, call.W_CHUNKS, call.W_AT, call.W_SCALE); }
    if (kind == 1u) { return vec4<u32>(call.A_IN, call.A_CHUNKS, call.A_AT, call.A_SCALE); }
    if (kind == 2u) { return vec4<u32>(call.V_IN, call.V_CHUNKS, call.V_AT, call.V_SCALE); }
    if (kind == 4u) { return vec4<u32>(call.G_IN, call.G_CHUNKS, call.G_AT, call.G_SCALE); }
    return vec4<u32>(0u);  // κ has none
}

//!include lib/step.wgsl
//!include lib/weight_{encoding}.wgsl
