"""out[t] = E[token_t]: one row of the embedding table per token, ln0 already folded in; or ln0 of x[t], for a row without a token."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.kernels.norm import layer_norm_of

NO_TOKEN = 0xFFFFFFFF  # of a row that brings its own embedding

embed = kernel(
    "embed",
    reads={"weights": "weights[COUNT,C]", "scales": "scales[COUNT,C]", "x": "f32[rows,C]", "norm": "f32[2,C]"},
    writes={"out": "f32[rows,C]"},
    constants=("C", "CHUNKS", "BLOCKS", "FIRST", "COUNT", "WG", "encoding", "held"),
    grid=lambda c: (Dim(c["CHUNKS"], c["WG"]), PER_ROW),
    cases=(
        {"C": 64, "COUNT": 50, "FIRST": 0, "WG": 64, **w.layout("int8", 64)},
        {"C": 200, "COUNT": 37, "FIRST": 0, "WG": 64, **w.layout("int8", 200)},
        {"C": 24, "COUNT": 60, "FIRST": 20, "WG": 32, **w.layout("f16", 24)},
        {"C": 64, "COUNT": 256, "FIRST": 0, "WG": 16, **w.layout("f32", 64)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **w.layout("int4", 76)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **w.layout("nf4", 76)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **w.layout("int8", 76, "images")},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **w.layout("int4", 76, "textures")},
    ),
)


@embed.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, norm: Any, out: Any) -> None:
    bytes_of = w.row_bytes(c.encoding, c.C)
    row_bytes, blocks = bytes_of[""], bytes_of.get(".scale", 0)
    for t, token in enumerate(step.tokens):
        if 0 <= (i := token - c.FIRST) < c.COUNT:  # decode one row, not the table
            one = weights[i * row_bytes : (i + 1) * row_bytes]
            out[t] = w.matrix(lambda _, make: make(), c.encoding, one, scales[i * blocks : (i + 1) * blocks], 1, c.C)[0]
        elif token == NO_TOKEN and c.FIRST == 0:
            out[t] = layer_norm_of(x[t], norm)
