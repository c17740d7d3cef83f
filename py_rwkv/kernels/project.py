"""Several matrices of the same width in one dispatch: out[t, m] = act_m(W[m] · x[source_m, t]).

The matrices are stacked by rows, each padded to a multiple of 16; `table` holds (source, activation) for every 16 rows.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.activation import activate
from py_rwkv.kernels.base import kernel
from py_rwkv.lazy import np

_case = {"M": 96, "TILES": 6, "tile": "4x1", "LANES": 1, "WG": 64, "reduce": "one", "share": "1", "dots": "float", "S": 3}


def _prepare(rng: Any, c: Any, table: Any, **_: Any) -> None:
    table[:] = np.repeat(np.stack([rng.integers(0, c.S, 3), rng.integers(0, 5, 3)], axis=1), 2, axis=0)  # what `share` wants


project = kernel(
    "project",
    reads={"weights": "weights[M,K]", "scales": "scales[M,K]", "x": "f32[S,rows,K]", "table": "u32[TILES,2]"},
    writes={"out": "f32[rows,M]"},
    constants=("M", "K", "CHUNKS", "BLOCKS", "TAIL", "LANES", "WG", "encoding", "held", "reduce", "share", "tile", "dots"),
    grid=w.grid,
    cases=(
        {**_case, "K": 64, **w.layout("int8", 64)},
        {**_case, "K": 40, **w.layout("f16", 40), "tile": "4x4"},
        {**_case, "K": 256, **w.layout("int8", 256), "tile": "4x4", "LANES": 16, "reduce": "many"},
        {**_case, "K": 256, **w.layout("int4", 256), "tile": "4x4", "LANES": 4, "reduce": "subgroup"},
        {**_case, "K": 208, **w.layout("int4", 208), "tile": "4x4"},
        {**_case, "K": 40, **w.layout("nf4", 40)},
        {**_case, "K": 200, **w.layout("int8", 200), "tile": "4x8", "share": "8"},
        {**_case, "K": 200, **w.layout("int8", 200), "tile": "4x4", "dots": "packed"},
        {**_case, "K": 200, **w.layout("f16", 200), "tile": "4x8", "dots": "half"},
        {**_case, "K": 200, **w.layout("f16", 200), "tile": "4x16", "share": "8"},
        {**_case, "K": 200, **w.layout("int8", 200, "images"), "tile": "4x16", "share": "8"},
        {**_case, "K": 200, **w.layout("int8", 200, "textures"), "tile": "4x8", "share": "4"},
    ),
    prepare=_prepare,
)


@project.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, table: Any, out: Any) -> None:
    matrix = w.matrix(memo, c.encoding, weights, scales, c.M, c.K)
    segments = table.tolist()
    start = 0
    for i in range(1, len(segments) + 1):  # neighbouring tiles with the same input and activation go together
        if i == len(segments) or segments[i] != segments[start]:
            source, act = segments[start]
            rows = slice(16 * start, 16 * i)
            out[:, rows] = activate(act, w.taken(c, x[source]) @ matrix[rows].T)
            start = i
