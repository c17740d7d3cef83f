"""The part of RWKV-6's token shift that depends on the data: mixed[1 + j] += d · (W_j z_j) for j = w, k, v, r, g."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import kernel
from py_rwkv.lazy import np

_one = {"tile": "4x1", "LANES": 1, "WG": 16, "reduce": "one", "share": "1", "dots": "float"}
_many = {"tile": "4x4", "LANES": 16, "WG": 64, "reduce": "many", "share": "1", "dots": "float"}

wkv6_mix = kernel(
    "wkv6_mix",
    reads={"weights": "weights[M,K]", "scales": "scales[M,K]", "x": "f32[rows,5*K]"},
    writes={"mixed": "f32[7,rows,C]"},
    constants=("M", "C", "K", "CHUNKS", "BLOCKS", "TAIL", "LANES", "WG", "encoding", "held", "reduce", "share", "tile", "dots"),
    grid=w.grid,
    cases=(
        {"M": 640, "C": 128, "K": 32, **w.layout("int8", 32), **_one},
        {"M": 100, "C": 20, "K": 16, **w.layout("f32", 16), **_one, "tile": "4x4"},
        {"M": 320, "C": 64, "K": 80, **w.layout("f16", 80), **_many},
        {"M": 320, "C": 64, "K": 80, **w.layout("f16", 80), **_many, "LANES": 4, "reduce": "subgroup"},
        {"M": 320, "C": 64, "K": 48, **w.layout("int4", 48), **_one},
        {"M": 320, "C": 64, "K": 48, **w.layout("int8", 48, "images"), **_one},
        {"M": 320, "C": 64, "K": 48, **w.layout("nf4", 48, "textures"), **_one},
        {"M": 320, "C": 64, "K": 48, **w.layout("nf4", 48), **_one, "tile": "4x4"},
    ),
)


@wkv6_mix.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, mixed: Any) -> None:
    up = w.matrix(memo, c.encoding, weights, scales, c.M, c.K).reshape(5, c.C, c.K)
    mixed[1:6] += mixed[6] * (x.reshape(len(x), 5, c.K).swapaxes(0, 1) @ np.swapaxes(up, 1, 2))
