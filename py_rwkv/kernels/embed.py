"""out[t] = E[token_t]: one row of the embedding table per token, ln0 already folded in; or ln0 of x[t], for a row without a token."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.kernels.norm import layer_norm_of
from py_rwkv.kernels.row_index import entries, index

NO_TOKEN = 0xFFFFFFFF  # of a row that brings its own embedding

_none = index(0)


def _prepare(rng: Any, c: Any, rows: Any, **others: Any) -> None:
    if c.BITS:
        found = entries(c, rows)
        found[:] = rng.integers(0, c.FIRST + c.COUNT + 5, len(found))


embed = kernel(
    "embed",
    reads={"weights": "weights[COUNT,C]", "scales": "scales[COUNT,C]", "x": "f32[rows,C]", "norm": "f32[2,C]", "rows": "u32[WORDS]"},
    writes={"out": "f32[rows,C]"},
    constants=("C", "CHUNKS", "BLOCKS", "FIRST", "COUNT", "V", "WORDS", "BITS", "WG", "encoding", "held"),
    grid=lambda c: (Dim(c["CHUNKS"], c["WG"]), PER_ROW),
    cases=(
        {"C": 64, "COUNT": 50, "FIRST": 0, "WG": 64, **_none, **w.layout("int8", 64)},
        {"C": 200, "COUNT": 37, "FIRST": 0, "WG": 64, **_none, **w.layout("int8", 200)},
        {"C": 24, "COUNT": 60, "FIRST": 20, "WG": 32, **_none, **w.layout("f16", 24)},
        {"C": 64, "COUNT": 256, "FIRST": 0, "WG": 16, **_none, **w.layout("f32", 64)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **_none, **w.layout("int4", 76)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **_none, **w.layout("nf4", 76)},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **_none, **w.layout("int8", 76, "images")},
        {"C": 76, "COUNT": 60, "FIRST": 20, "WG": 64, **_none, **w.layout("int4", 76, "textures")},
        {"C": 64, "COUNT": 9, "FIRST": 0, "WG": 64, **index(64, "U16"), **w.layout("int8", 64)},
        {"C": 64, "COUNT": 20, "FIRST": 30, "WG": 64, **index(77, "U16"), **w.layout("f16", 64)},
        {"C": 64, "COUNT": 9, "FIRST": 0, "WG": 64, **index(65, "U32"), **w.layout("nf4", 64)},
    ),
    prepare=_prepare,
)


@embed.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, norm: Any, rows: Any, out: Any) -> None:
    index = entries(c, rows)
    bytes_of = w.row_bytes(c.encoding, c.C)
    row_bytes, blocks = bytes_of[""], bytes_of.get(".scale", 0)
    for t, token in enumerate(step.tokens):
        if 0 <= (i := (int(index[token]) if token < c.V else token) - c.FIRST) < c.COUNT:  # decode one row, not the table
            one = weights[i * row_bytes : (i + 1) * row_bytes]
            out[t] = w.matrix(lambda _, make: make(), c.encoding, one, scales[i * blocks : (i + 1) * blocks], 1, c.C)[0]
        elif token == NO_TOKEN and c.FIRST == 0:
            out[t] = layer_norm_of(x[t], norm)
