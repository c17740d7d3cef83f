"""out[t] = act(W x[t]), or out[t] += W x[t]: every matrix that stands alone. A row of x may be wider than K and hold a gate for what is added."""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.activation import activate
from py_rwkv.kernels.base import kernel

TOKENS = ("rows", "outputs", "lone", "several")  # PER_OUTPUT: whose rows x has, by number; `Dim` says what they are


def write(rows: int, stride: int, at: int) -> str:
    """How the output is written: four rows at once where its sizes allow."""
    return "singly" if (rows | stride | at) % 4 else "quads"


_one = {"tile": "4x1", "LANES": 1, "WG": 64, "reduce": "one", "share": "1"}
_tile = {"tile": "4x4", "LANES": 1, "WG": 32, "reduce": "one", "share": "1"}
_shared = {"tile": "4x8", "LANES": 1, "WG": 16, "reduce": "one", "share": "8"}
_many = {"tile": "4x4", "LANES": 16, "WG": 64, "reduce": "many", "share": "1"}
_packed = {"dots": "packed"}
_half = {"dots": "half"}
_within = {"tile": "4x4", "LANES": 4, "WG": 64, "reduce": "subgroup", "share": "1"}  # the smallest subgroups there are


def _case(m: int, k: int, encoding: str, tile: dict[str, Any], **more: Any) -> dict[str, Any]:
    return (
        {"M": m, "K": k, "ACT": 0, "ADD": 0, "PER_OUTPUT": 0, "OUT_STRIDE": m, "OUT_AT": 0, "X_STRIDE": k, "GATE_AT": 0, "dots": "float"}
        | tile
        | w.layout(encoding, k)
        | more
        | {"write": write(m, more.get("OUT_STRIDE", m), more.get("OUT_AT", 0))}
    )


matmul = kernel(
    "matmul",
    reads={"weights": "weights[M,K]", "scales": "scales[M,K]", "x": "f32[tokens,X_STRIDE]"},
    writes={"out": "f32[tokens,OUT_STRIDE]"},
    constants=(
        "M",
        "K",
        "CHUNKS",
        "BLOCKS",
        "TAIL",
        "LANES",
        "WG",
        "ACT",
        "ADD",
        "PER_OUTPUT",
        "OUT_STRIDE",
        "OUT_AT",
        "X_STRIDE",
        "GATE_AT",
        "encoding",
        "held",
        "reduce",
        "share",
        "tile",
        "dots",
        "write",
    ),
    grid=lambda c: w.grid(c, TOKENS[c["PER_OUTPUT"]]),
    cases=(
        _case(256, 64, "int8", _one, ACT=3),
        _case(50, 200, "int8", _tile, ADD=1),
        _case(33, 1024, "int8", _many, ACT=1),
        _case(40, 24, "f16", _one, ACT=2),
        _case(64, 64, "f16", _tile),
        _case(70, 40, "f16", _many, ADD=1),
        _case(64, 256, "f32", _one),
        _case(99, 36, "f32", _tile, OUT_STRIDE=200, OUT_AT=100, PER_OUTPUT=1),
        _case(17, 64, "f32", _many, PER_OUTPUT=1),
        _case(60, 128, "int8", _one, ADD=2, X_STRIDE=192, GATE_AT=132),
        _case(40, 144, "f16", _many, ADD=2, X_STRIDE=184, GATE_AT=144),
        _case(96, 80, "int4", _one),
        _case(50, 200, "int4", _tile, ADD=1),
        _case(33, 1024, "int4", _many),
        _case(96, 80, "nf4", _one),
        _case(50, 200, "nf4", _tile, ADD=1),
        _case(33, 1024, "nf4", _many),
        _case(50, 200, "int8", _shared, ADD=1),
        _case(70, 40, "f16", _shared | {"tile": "4x1"}, ACT=4),
        _case(99, 36, "f32", _shared | {"share": "4"}, OUT_STRIDE=200, OUT_AT=100, PER_OUTPUT=1),
        _case(96, 80, "int4", _shared | {"share": "4", "tile": "4x1"}),
        _case(40, 130, "f16", _shared, X_STRIDE=144),
        _case(33, 1024, "int8", _within, ACT=1),
        _case(70, 40, "f16", _within | {"tile": "4x1", "LANES": 2}, ADD=1),
        _case(60, 200, "nf4", _within | {"tile": "4x8"}, ADD=1),
        _case(256, 64, "int8", _one | _packed, ACT=3),
        _case(50, 200, "int8", _tile | _packed, ADD=1),
        _case(33, 1024, "int8", _many | _packed, PER_OUTPUT=1),
        _case(60, 200, "int8", _within | _packed | {"tile": "4x8"}),
        _case(256, 64, "f16", _one | _half, ACT=3),
        _case(50, 200, "int8", _tile | _half, ADD=1),
        _case(33, 1024, "nf4", _many | _half, PER_OUTPUT=1),
        _case(60, 200, "int4", _within | _half | {"tile": "4x8"}),
        _case(50, 200, "f16", _shared | {"tile": "4x16"}, ADD=1),
        _case(96, 80, "int8", _shared | {"tile": "4x16"}, ACT=3),
        _case(60, 200, "int4", _within | {"tile": "4x16"}),
        _case(36, 1024, "f16", _many | {"tile": "4x8"}, PER_OUTPUT=1),
        _case(50, 200, "f16", _shared | {"tile": "4x16"}, ADD=1, held="images"),
        _case(256, 1024, "int8", _shared | {"tile": "4x1"}, held="images"),
        _case(96, 80, "int4", _shared | {"tile": "4x1"}, held="images"),
        _case(33, 1024, "nf4", _many, ACT=1, held="images"),
        _case(99, 36, "f32", _tile, held="images"),
        _case(50, 200, "int8", _tile | _packed, ADD=1, held="images"),
        _case(70, 40, "f16", _shared | {"share": "4", "tile": "4x1"}, held="textures"),
        _case(256, 1024, "int8", _shared | {"share": "4"}, held="textures"),
        _case(50, 200, "int4", _tile, ADD=1, held="textures"),
        _case(33, 1024, "nf4", _shared | {"share": "4", "tile": "4x1"}, held="textures"),
    ),
)


@matmul.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, x: Any, out: Any) -> None:
    y = activate(c.ACT, w.taken(c, x[:, : c.K]) @ w.matrix(memo, c.encoding, weights, scales, c.M, c.K).T)
    if c.ADD == 2:
        y *= x[:, c.GATE_AT : c.GATE_AT + c.M]
    columns = slice(c.OUT_AT, c.OUT_AT + c.M)
    out[:, columns] = out[:, columns] + y if c.ADD else y
