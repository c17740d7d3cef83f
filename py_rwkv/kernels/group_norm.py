"""GN of every head: (y − mean) / std · gain + bias. wkv6 does this itself; by itself it is for a hook that wants to see y."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.lazy import np

group_norm = kernel(
    "group_norm",
    reads={"y": "f32[rows,C]", "vectors": "f32[ROWS,C]"},
    writes={"out": "f32[rows,C]"},
    constants=("C", "N", "GAIN", "WG", "EPS"),
    grid=lambda c: (Dim(c["C"], c["WG"]), PER_ROW),
    cases=(
        {"C": 128, "N": 64, "ROWS": 3, "GAIN": 1, "WG": 64, "EPS": 64e-5},
        {"C": 40, "N": 8, "ROWS": 3, "GAIN": 1, "WG": 64, "EPS": 1e-5},
    ),
)


@group_norm.reference
def _(step: Any, c: Any, memo: Any, y: Any, vectors: Any, out: Any) -> None:
    heads = y.reshape(len(y), -1, c.N)
    centred = heads - heads.mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(c.EPS))
    out[:] = normed.reshape(y.shape) * vectors[c.GAIN] + vectors[c.GAIN + 1]
