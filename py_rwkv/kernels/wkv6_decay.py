"""RWKV-6's decay of every channel at every row: exp(−exp(bias + W x)), x being the last columns of a projected row."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import kernel
from py_rwkv.lazy import np

_one = {"tile": "4x1", "LANES": 1, "WG": 16, "reduce": "one", "share": "1", "dots": "float"}
_many = {"tile": "4x4", "LANES": 16, "WG": 64, "reduce": "many", "share": "1", "dots": "float"}

wkv6_decay = kernel(
    "wkv6_decay",
    reads={"weights": "weights[M,K]", "scales": "scales[M,K]", "x": "f32[rows,WIDTH]", "bias": "f32[M]"},
    writes={"out": "f32[rows,M]"},
    constants=("M", "K", "CHUNKS", "BLOCKS", "TAIL", "LANES", "WG", "WIDTH", "X_AT", "encoding", "held", "reduce", "share", "tile", "dots"),
    grid=w.grid,
    cases=(
        {"M": 128, "K": 64, "WIDTH": 576, "X_AT": 512, **w.layout("int8", 64), **_one},
        {"M": 20, "K": 16, "WIDTH": 96, "X_AT": 80, **w.layout("f32", 16), **_one, "tile": "4x4"},
        {"M": 64, "K": 80, "WIDTH": 336, "X_AT": 256, **w.layout("f16", 80), **_many},
        {"M": 36, "K": 80, "WIDTH": 336, "X_AT": 256, **w.layout("int4", 80), **_one},
        {"M": 36, "K": 80, "WIDTH": 336, "X_AT": 256, **w.layout("int4", 80, "images"), **_one},
        {"M": 36, "K": 80, "WIDTH": 336, "X_AT": 256, **w.layout("f16", 80, "textures"), **_one},
        {"M": 36, "K": 80, "WIDTH": 336, "X_AT": 256, **w.layout("nf4", 80), **_one},
    ),
)


@wkv6_decay.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, bias: Any, out: Any) -> None:
    low = x[:, c.X_AT : c.X_AT + c.K] @ w.matrix(memo, c.encoding, weights, scales, c.M, c.K).T
    out[:] = np.exp(-np.exp(np.minimum(bias + low, 80)))
