"""The recurrence of RWKV-5 and RWKV-6, per head: y = (S + (u k) vᵀ)ᵀ r, S ← diag(w) S + k vᵀ, out = GN(y) · g; S is [key, value]."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import PER_RUN, Dim, kernel
from py_rwkv.lazy import np


def sizes(channels: int, head_size: int, *, dynamic: bool, gated: bool, lanes: int, share: int = 1) -> dict[str, Any]:
    """The constants of a model's shape; `lanes` > 1: that many invocations share a head, and a workgroup is one head. share: the same for a subgroup of that size."""
    lanes = min(lanes, head_size // 4)
    shape = {
        "C": channels,
        "SEGMENT": w.padded(channels),
        "N": head_size,
        "H": channels // head_size,
        "DYNAMIC": int(dynamic),
        "STATIC": int(not dynamic),
        "GATED": int(gated),
    }
    flavour = {"LANES": lanes, "WG": lanes, "reduce": "many"} if lanes > 1 else {"LANES": 1, "WG": 4, "reduce": "one"}
    if share > 1 and head_size % 16 == 0 and head_size // 4 % share == 0:
        return shape | {"LANES": share, "WG": share, "reduce": str(share), "keys": f"16_{share}"}
    return shape | flavour | {"keys": "4" if head_size % 16 else "16"}


def _prepare(rng: Any, c: Any, decay: Any, **_: Any) -> None:
    decay[:] = rng.uniform(0, 1, decay.shape)


def _case(*shape: int, width: int, eps: float, **flavour: Any) -> dict[str, Any]:
    return sizes(*shape, **flavour) | {"WIDTH": width, "EPS": eps}


wkv6 = kernel(
    "wkv6",
    reads={"projected": "f32[rows,WIDTH]", "decay": "f32[DYNAMIC*rows+STATIC,C]", "vectors": "f32[3,C]"},
    writes={"state": "f32[slots,H,N,N]", "y": "f32[rows,C]", "out": "f32[rows,C]"},
    constants=("C", "N", "WIDTH", "SEGMENT", "DYNAMIC", "GATED", "LANES", "WG", "EPS", "keys", "reduce"),
    grid=lambda c: (Dim(c["H"], c["WG"] // c["LANES"]), PER_RUN),
    cases=(
        _case(192, 64, width=816, eps=64e-5, dynamic=True, gated=True, lanes=1),
        _case(128, 64, width=512, eps=64e-5, dynamic=True, gated=True, lanes=16),
        _case(192, 64, width=816, eps=64e-5, dynamic=True, gated=True, lanes=1, share=8),
        _case(40, 8, width=192, eps=1e-5, dynamic=False, gated=True, lanes=1),
        _case(48, 8, width=144, eps=1e-5, dynamic=False, gated=False, lanes=16),
        _case(256, 128, width=768, eps=64e-5, dynamic=False, gated=False, lanes=16),
    ),
    prepare=_prepare,
)


@wkv6.reference
def _(step: Any, c: Any, memo: Any, projected: Any, decay: Any, vectors: Any, state: Any, y: Any, out: Any) -> None:
    rows = len(y)
    r, k, v = (projected[:, i * c.SEGMENT :][:, : c.C].reshape(rows, -1, c.N) for i in range(3))
    decays = np.broadcast_to(decay, (rows, c.C)).reshape(rows, -1, c.N, 1)
    bonus = (r * k * vectors[0].reshape(-1, c.N)).sum(-1, keepdims=True)
    heads = y.reshape(rows, -1, c.N)
    for first, last in step.spans:
        s = state[step.slots[first]]
        for t in range(first, last + 1):
            heads[t] = (r[t, :, None] @ s)[:, 0] + bonus[t] * v[t]
            s[:] = s * decays[t] + k[t, :, :, None] * v[t, :, None]
    centred = heads - heads.mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(c.EPS))
    out[:] = normed.reshape(rows, -1) * vectors[1] + vectors[2]
    if c.GATED:
        out *= projected[:, 3 * c.SEGMENT :][:, : c.C]
