"""LayerNorm by itself: out[t] = LN(x[t]), or with PER_OUTPUT out[j] = LN(x[row of output j]), the rows that go through the head."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_OUTPUT, PER_ROW, Dim, kernel
from py_rwkv.kernels.norm import layer_norm_of

layer_norm = kernel(
    "layer_norm",
    reads={"x": "f32[rows,C]", "norm": "f32[2,C]"},
    writes={"out": "f32[tokens,C]"},
    constants=("C", "PER_OUTPUT", "PER", "WG", "reduce"),
    grid=lambda c: (Dim(c["C"] // 4, c["PER"] * c["WG"]), PER_OUTPUT if c["PER_OUTPUT"] else PER_ROW),
    cases=(
        {"C": 64, "PER_OUTPUT": 1, "PER": 4, "WG": 16, "reduce": "one"},
        {"C": 200, "PER_OUTPUT": 1, "PER": 1, "WG": 64, "reduce": "many"},
        {"C": 40, "PER_OUTPUT": 0, "PER": 1, "WG": 64, "reduce": "many"},
        {"C": 200, "PER_OUTPUT": 1, "PER": 4, "WG": 16, "reduce": "8"},
    ),
)


@layer_norm.reference
def _(step: Any, c: Any, memo: Any, x: Any, norm: Any, out: Any) -> None:
    out[:] = layer_norm_of(x[list(step.output_rows)] if c.PER_OUTPUT else x, norm)
