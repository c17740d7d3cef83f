"""The RWKV-7 recurrence: S ← S diag(w) + (S a) bᵀ + v kᵀ, y = S r, per head, over every row of every run; S is [value, key]."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_RUN, Dim, kernel
from py_rwkv.lazy import np


def prepare(rng: Any, c: Any, inputs: Any, **_: Any) -> None:
    """Inputs as the model makes them; arbitrary ones would let the state explode."""
    heads = inputs.reshape(len(inputs), 6, -1, c.N)
    heads[:, 0] = rng.uniform(0.55, 1, heads[:, 0].shape)
    heads[:, 3] /= np.linalg.norm(heads[:, 3], axis=-1, keepdims=True)
    heads[:, 4] = -heads[:, 3] * rng.uniform(0, 1, heads[:, 3].shape)


wkv7 = kernel(
    "wkv7",
    reads={"projected": "f32[rows,WIDTH]", "inputs": "f32[rows,6,C]"},
    writes={"state": "f32[slots,H,N,N]", "y": "f32[rows,C]"},
    constants=("C", "N", "WIDTH", "ROWS", "WG", "share"),
    grid=lambda c: (Dim(c["C"] // c["ROWS"], c["WG"]), PER_RUN),
    cases=(
        {"C": 128, "N": 64, "H": 2, "WIDTH": 512, "ROWS": 4, "WG": 16, "share": "1"},
        {"C": 64, "N": 64, "H": 1, "WIDTH": 288, "ROWS": 1, "WG": 64, "share": "1"},
        {"C": 64, "N": 8, "H": 8, "WIDTH": 288, "ROWS": 2, "WG": 64, "share": "1"},
        {"C": 128, "N": 64, "H": 2, "WIDTH": 288, "ROWS": 1, "WG": 16, "share": "8"},
    ),
    prepare=prepare,
)


@wkv7.reference
def _(step: Any, c: Any, memo: Any, projected: Any, inputs: Any, state: Any, y: Any) -> None:
    heads = inputs.reshape(len(inputs), 6, -1, c.N)
    receptance = projected[:, : c.C].reshape(len(inputs), -1, c.N)
    for first, last in step.spans:
        s = state[step.slots[first]]
        for t in range(first, last + 1):
            w, k, v, a, b = heads[t, :5]
            sa = s @ a[:, :, None]  # [H, N, 1]
            s[:] = s * w[:, None, :] + sa * b[:, None, :] + v[:, :, None] * k[:, None, :]
            y[t] = (s @ receptance[t][:, :, None]).reshape(-1)
