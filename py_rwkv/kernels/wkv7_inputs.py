"""What the RWKV-7 recurrence needs (arXiv 2503.14456 §4): decay, learning rate, value residual, removal key, gate. Formula: shaders/wkv7_inputs.wgsl."""

from __future__ import annotations

from math import ceil
from typing import Any

from py_rwkv.kernels import weights as w
from py_rwkv.kernels.activation import sigmoid
from py_rwkv.kernels.base import PER_ROW, Dim, kernel
from py_rwkv.lazy import np

GATES = "wavg"  # the order of the low-rank matrices in the stacked buffer and in a projected row


def offsets(channels: int, ranks: dict[str, int]) -> dict[str, int]:
    """Where each low-rank matrix starts: its activations' column, its chunks and scales in the stacked buffer (a missing rank counts as 0)."""
    segment = w.padded(channels)
    column, at, scale = 3 * segment, 0, 0
    out: dict[str, int] = {}
    for gate in GATES:
        rank = ranks.get(gate, 0)
        chunks = w.padded(rank) // 16
        out |= {f"{gate.upper()}_IN": column, f"{gate.upper()}_CHUNKS": chunks, f"{gate.upper()}_AT": at, f"{gate.upper()}_SCALE": scale}
        column += w.padded(rank)
        at += channels * chunks
        scale += channels * ceil(chunks / 2)
    return out | {"SEGMENT": segment, "WIDTH": column, "TOTAL": at, "TOTAL_SCALES": scale}


def _case(channels: int, size: int, first: int, encoding: str, held: str = "buffers", **ranks: int) -> dict[str, Any]:
    return {"C": channels, "N": size, "FIRST": first, "WG": 64, "encoding": encoding, "held": held} | offsets(channels, ranks)


wkv7_inputs = kernel(
    "wkv7_inputs",
    reads={"weights": "stack[TOTAL]", "scales": "stack_scales[TOTAL_SCALES]", "projected": "f32[rows,WIDTH]", "vectors": "f32[8,C]"},
    writes={"v_first": "f32[rows,C]", "out": "f32[rows,6,C]"},
    constants=(
        "C",
        "N",
        "SEGMENT",
        "WIDTH",
        "FIRST",
        "WG",
        "encoding",
        "held",
        *(f"{g}_{k}" for g in "WAVG" for k in ("IN", "CHUNKS", "AT", "SCALE")),
    ),
    grid=lambda c: (Dim(c["C"], c["WG"]), PER_ROW),
    cases=(
        _case(128, 64, 1, "int8", w=32, a=32, g=96),
        _case(192, 64, 0, "int8", w=24, a=40, v=20, g=80),
        _case(64, 8, 0, "f16", w=16, a=32, v=16, g=32),
        _case(64, 64, 0, "f32", w=21, a=5, v=7, g=130),
        _case(40, 8, 0, "int8", w=16, a=16, v=16, g=16),
        _case(64, 64, 0, "int4", w=16, a=40, v=20, g=80),
        _case(64, 64, 0, "nf4", w=16, a=40, v=20, g=80),
        _case(192, 64, 0, "int8", "images", w=24, a=40, v=20, g=80),
        _case(192, 64, 0, "int8", "textures", w=24, a=40, v=20, g=80),
    ),
)


@wkv7_inputs.reference
def _(step: Any, c: Any, memo: w.Memo, weights: Any, scales: Any, projected: Any, vectors: Any, v_first: Any, out: Any) -> None:
    rows, width = projected.shape[0], c.C
    k, v = (projected[:, n * c.SEGMENT : n * c.SEGMENT + width] for n in (1, 2))

    def up(gate: str) -> Any:
        column, chunks, at, scale = (getattr(c, f"{gate}_{k}") for k in ("IN", "CHUNKS", "AT", "SCALE"))
        return projected[:, column : column + 16 * chunks] @ w.matrix(memo, c.encoding, weights, scales, width, 16 * chunks, at, scale).T

    w0, a0, v0, k_k, k_a = vectors[:5]
    a = sigmoid(a0 + up("A"))
    kappa = (k * k_k).reshape(rows, -1, c.N)
    kappa = (kappa / np.maximum(np.sqrt(np.square(kappa).sum(-1, keepdims=True)), 1e-12)).reshape(rows, width)
    if c.FIRST:
        v_first[:] = v
    else:
        v = v + (v_first - v) * sigmoid(v0 + up("V"))
    decay = np.exp(np.float32(-0.6065306597126334) * sigmoid(w0 + up("W")))
    out[:] = np.stack([decay, k * (1 + (a - 1) * k_a), v, -kappa, kappa * a, up("G")], axis=1)
