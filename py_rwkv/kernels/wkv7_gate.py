"""Group norm per head, the bonus of the current token, and the gate: out = (GN(y) + (Σ r k r_k) v) · g."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.lazy import np

wkv7_gate = kernel(
    "wkv7_gate",
    reads={"projected": "f32[rows,WIDTH]", "inputs": "f32[rows,6,C]", "vectors": "f32[8,C]", "y": "f32[rows,C]"},
    writes={"out": "f32[rows,C]"},
    constants=("C", "N", "WIDTH", "PER", "WG", "EPS"),
    grid=lambda c: (Dim(c["C"] // c["PER"], c["WG"]), PER_ROW),
    cases=(
        {"C": 128, "N": 64, "WIDTH": 512, "PER": 16, "WG": 16, "EPS": 64e-5},
        {"C": 64, "N": 8, "WIDTH": 288, "PER": 8, "WG": 16, "EPS": 1e-5},
    ),
)


@wkv7_gate.reference
def _(step: Any, c: Any, memo: Any, projected: Any, inputs: Any, vectors: Any, y: Any, out: Any) -> None:
    rows = len(y)
    heads = y.reshape(rows, -1, c.N)
    centred = heads - heads.mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(c.EPS))
    bonus = (projected[:, : c.C] * inputs[:, 1] * vectors[5]).reshape(heads.shape).sum(-1, keepdims=True)
    mixed = normed.reshape(rows, -1) * vectors[6] + vectors[7] + (bonus * inputs[:, 2].reshape(heads.shape)).reshape(rows, -1)
    out[:] = mixed * inputs[:, 5]
