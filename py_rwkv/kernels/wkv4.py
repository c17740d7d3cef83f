"""The RWKV-4 recurrence over every row of every run, gated (or not, for a hook): out = r · (Σ e^… v) / (Σ e^…). Formula and state: shaders/wkv4.wgsl."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_RUN, Dim, kernel
from py_rwkv.lazy import np


def _prepare(rng: Any, c: Any, projected: Any, vectors: Any, state: Any, **_: Any) -> None:
    """Keys far apart, decays from none to all at once, and slots that are fresh (all zero) or have a past."""
    projected[:, c.SEGMENT : 2 * c.SEGMENT] *= 30
    vectors[0] = rng.uniform(-8, 5, c.C)
    state[:, 1] = 1 + np.abs(state[:, 1])
    state[::2] = 0


wkv4 = kernel(
    "wkv4",
    reads={"projected": "f32[rows,WIDTH]", "vectors": "f32[2,C]"},
    writes={"state": "f32[slots,3,C]", "out": "f32[rows,C]"},
    constants=("C", "WIDTH", "SEGMENT", "GATED", "WG"),
    grid=lambda c: (Dim(c["C"] // 4, c["WG"]), PER_RUN),
    cases=(
        {"C": 128, "WIDTH": 384, "SEGMENT": 128, "GATED": 1, "WG": 16},
        {"C": 20, "WIDTH": 96, "SEGMENT": 32, "GATED": 1, "WG": 64},
        {"C": 20, "WIDTH": 96, "SEGMENT": 32, "GATED": 0, "WG": 64},
    ),
    prepare=_prepare,
)


@wkv4.reference
def _(step: Any, c: Any, memo: Any, projected: Any, vectors: Any, state: Any, out: Any) -> None:
    r, k, v = (projected[:, i * c.SEGMENT :][:, : c.C] for i in range(3))
    w, u = -np.exp(np.minimum(vectors[0], 80)), vectors[1]
    for first, last in step.spans:
        aa, bb, p = state[step.slots[first]]
        p = np.where(bb == 0, np.float32(-1e30), p)
        for t in range(first, last + 1):
            q = np.maximum(p, u + k[t])
            old, now = np.exp(p - q), np.exp(u + k[t] - q)
            y = (old * aa + now * v[t]) / (old * bb + now)
            out[t] = r[t] * y if c.GATED else y
            q = np.maximum(p + w, k[t])
            old, now = np.exp(p + w - q), np.exp(k[t] - q)
            aa, bb, p = old * aa + now * v[t], old * bb + now, q
        state[step.slots[first]] = aa, bb, p
