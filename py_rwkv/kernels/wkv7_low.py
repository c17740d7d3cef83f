"""`wkv7_inputs` in two steps, for a hook on what lies between: the low-rank functions and the removal key, out = w, a, σ(v…), κ, g; then `wkv7_join`."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.activation import sigmoid
from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.kernels.wkv7_inputs import wkv7_inputs
from py_rwkv.lazy import np

_one = {"tile": "4x1", "LANES": 1, "WG": 16, "reduce": "one", "share": "1", "dots": "float"}

wkv7_low = kernel(
    "wkv7_low",
    reads={"weights": "stack[TOTAL]", "scales": "stack_scales[TOTAL_SCALES]", "x": "f32[rows,WIDTH]", "vectors": "f32[8,C]"},
    writes={"out": "f32[rows,5,C]"},
    constants=(*wkv7_inputs.constants, "LANES", "reduce", "share", "tile", "dots"),
    grid=lambda c: (Dim(5 * -(-c["C"] // 4 // (c["WG"] // c["LANES"]))), Dim(1, int(c["tile"][2:]), "rows")),
    cases=(
        {**wkv7_inputs.cases[0], **_one, "tile": "4x8", "share": "8"},
        {**wkv7_inputs.cases[1], **_one, "tile": "4x8", "share": "8"},
        {**wkv7_inputs.cases[2], **_one},
        {**wkv7_inputs.cases[3], **_one, "LANES": 16, "WG": 64, "reduce": "many"},
        {**wkv7_inputs.cases[3], **_one, "LANES": 4, "WG": 64, "reduce": "subgroup"},
        {**wkv7_inputs.cases[4], **_one, "tile": "4x4"},
        {**wkv7_inputs.cases[7], **_one, "tile": "4x4", "share": "8"},
        {**wkv7_inputs.cases[8], **_one, "tile": "4x4", "share": "4"},
    ),
)


@wkv7_low.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, vectors: Any, out: Any) -> None:
    rows, width = x.shape[0], c.C
    w0, a0, v0, k_k = vectors[:4]

    def up(gate: str) -> Any:
        column, chunks, at, scale = (getattr(c, f"{gate}_{k}") for k in ("IN", "CHUNKS", "AT", "SCALE"))
        return x[:, column : column + 16 * chunks] @ w.matrix(memo, c.encoding, weights, scales, width, 16 * chunks, at, scale).T

    kappa = (x[:, c.SEGMENT : c.SEGMENT + width] * k_k).reshape(rows, -1, c.N)
    kappa /= np.maximum(np.sqrt(np.square(kappa).sum(-1, keepdims=True)), 1e-12)
    mix = np.zeros((rows, width), np.float32) if c.FIRST else sigmoid(v0 + up("V"))
    decay = np.exp(np.float32(-0.6065306597126334) * sigmoid(w0 + up("W")))
    out[:] = np.stack([decay, sigmoid(a0 + up("A")), mix, kappa.reshape(rows, width), up("G")], axis=1)


wkv7_join = kernel(
    "wkv7_join",
    reads={"projected": "f32[rows,WIDTH]", "vectors": "f32[8,C]", "low": "f32[rows,5,C]"},
    writes={"v_first": "f32[rows,C]", "out": "f32[rows,6,C]"},
    constants=("C", "SEGMENT", "WIDTH", "FIRST", "WG"),
    grid=lambda c: (Dim(c["C"], c["WG"]), PER_ROW),
    cases=(
        {"C": 40, "SEGMENT": 48, "WIDTH": 180, "FIRST": 0, "WG": 64},
        {"C": 64, "SEGMENT": 64, "WIDTH": 192, "FIRST": 1, "WG": 16},
    ),
)


@wkv7_join.reference
def _(step: Any, c: Any, memo: Any, projected: Any, vectors: Any, low: Any, v_first: Any, out: Any) -> None:
    k, v = (projected[:, n * c.SEGMENT : n * c.SEGMENT + c.C] for n in (1, 2))
    decay, a, mix, kappa, g = low.swapaxes(0, 1)
    if c.FIRST:
        v_first[:] = v
    else:
        v = v + (v_first - v) * mix
    out[:] = np.stack([decay, k * (1 + (a - 1) * vectors[4]), v, -kappa, kappa * a, g], axis=1)
