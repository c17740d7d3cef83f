"""LayerNorm, token shift and S interpolations in one pass: what every sub-block starts with.

h = LN(x);  out[s] = h + (before − h) · mu[s];  before = h of the row before, or the state's at the first row of a run.
With KEEP, out[S] = before − h: what V6 needs for the part of its interpolations that depends on the data.
Without NORM, x is h already: a hook wanted to see the LayerNorm by itself.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.kernels.norm import layer_norm_of
from py_rwkv.lazy import np

layer_mix = kernel(
    "layer_mix",
    reads={"x": "f32[rows,C]", "norm": "f32[2,C]", "mu": "f32[S,C]"},
    writes={"prev": "f32[slots,C]", "out": "f32[S+KEEP,rows,C]"},
    constants=("C", "S", "KEEP", "NORM", "PER", "WG", "reduce"),
    grid=lambda c: (Dim(c["C"] // 4, c["PER"] * c["WG"]), PER_ROW),
    cases=(
        {"C": 64, "S": 6, "KEEP": 1, "NORM": 1, "PER": 4, "WG": 16, "reduce": "one"},
        {"C": 200, "S": 1, "KEEP": 0, "NORM": 1, "PER": 2, "WG": 8, "reduce": "one"},
        {"C": 2560, "S": 6, "KEEP": 0, "NORM": 1, "PER": 1, "WG": 64, "reduce": "many"},
        {"C": 24, "S": 2, "KEEP": 1, "NORM": 1, "PER": 1, "WG": 64, "reduce": "many"},
        {"C": 24, "S": 2, "KEEP": 1, "NORM": 0, "PER": 1, "WG": 64, "reduce": "many"},
        {"C": 64, "S": 6, "KEEP": 0, "NORM": 0, "PER": 4, "WG": 16, "reduce": "one"},
        {"C": 200, "S": 2, "KEEP": 1, "NORM": 1, "PER": 2, "WG": 16, "reduce": "8"},
    ),
)


@layer_mix.reference
def _(step: Any, c: Any, memo: Any, x: Any, norm: Any, mu: Any, prev: Any, out: Any) -> None:
    h = layer_norm_of(x, norm) if c.NORM else x
    before = np.roll(h, 1, axis=0)
    for first, last in step.spans:
        before[first] = prev[step.slots[first]]
        prev[step.slots[first]] = h[last]
    out[: c.S] = h + (before - h) * mu[:, None, :]
    if c.KEEP:
        out[c.S] = before - h
