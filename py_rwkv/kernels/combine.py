"""out = x · gate, or out += x · gate, or both without a gate: the end of a fused dispatch by itself, for a hook that wants to see x."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_ROW, Dim, kernel

combine = kernel(
    "combine",
    reads={"x": "f32[rows,C]", "gate": "f32[rows,STRIDE]"},
    writes={"out": "f32[rows,C]"},
    constants=("C", "STRIDE", "AT", "ADD", "GATED", "WG"),
    grid=lambda c: (Dim(c["C"], c["WG"]), PER_ROW),
    cases=(
        {"C": 64, "STRIDE": 200, "AT": 100, "ADD": 0, "GATED": 1, "WG": 64},
        {"C": 20, "STRIDE": 40, "AT": 20, "ADD": 1, "GATED": 1, "WG": 64},
        {"C": 100, "STRIDE": 100, "AT": 0, "ADD": 1, "GATED": 0, "WG": 64},
    ),
)


@combine.reference
def _(step: Any, c: Any, memo: Any, x: Any, gate: Any, out: Any) -> None:
    y = x * gate[:, c.AT : c.AT + c.C] if c.GATED else x
    out[:] = out + y if c.ADD else y
