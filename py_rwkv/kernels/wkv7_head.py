"""`wkv7` and `wkv7_gate` in one dispatch: per head the recurrence, group norm, bonus and gate.

The form without barriers (`reduce` "one") is for short runs: an invocation walks a whole head, and lavapipe ends any that loops 65535 times.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_RUN, Dim, kernel
from py_rwkv.kernels.wkv7 import prepare, wkv7
from py_rwkv.kernels.wkv7_gate import wkv7_gate
from py_rwkv.lazy import np

wkv7_head = kernel(
    "wkv7_head",
    reads={"projected": "f32[rows,WIDTH]", "inputs": "f32[rows,6,C]", "vectors": "f32[8,C]"},
    writes={"state": "f32[slots,H,N,N]", "out": "f32[rows,C]"},
    constants=("C", "N", "WIDTH", "WG", "EPS", "reduce"),
    grid=lambda c: (Dim(c["C"] // c["N"], 1 if c["reduce"] == "many" else c["WG"]), PER_RUN),
    cases=(
        {"C": 64, "N": 16, "H": 4, "WIDTH": 288, "WG": 4, "EPS": 64e-5, "reduce": "one"},
        {"C": 64, "N": 8, "H": 8, "WIDTH": 288, "WG": 4, "EPS": 1e-5, "reduce": "one"},
        {"C": 128, "N": 64, "H": 2, "WIDTH": 512, "WG": 4, "EPS": 64e-5, "reduce": "many"},
        {"C": 96, "N": 48, "H": 2, "WIDTH": 320, "WG": 4, "EPS": 64e-5, "reduce": "many"},
    ),
    prepare=prepare,
)


@wkv7_head.reference
def _(step: Any, c: Any, memo: Any, projected: Any, inputs: Any, vectors: Any, state: Any, out: Any) -> None:
    y = np.empty_like(out)
    wkv7.run(step, c, memo, projected=projected, inputs=inputs, state=state, y=y)
    wkv7_gate.run(step, c, memo, projected=projected, inputs=inputs, vectors=vectors, y=y, out=out)
