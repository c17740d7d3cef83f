"""int8: symmetric, weight = q / 127 · scale, q in −127..127 (8.25 bits per weight). docs/quantization.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np
from py_rwkv.quant import blocks
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

OFFSETS = (-1, 0, 1, 2, 3)  # above the largest magnitude too: rounding may happen to fit better


def _numbers(x: F32) -> F32:
    """x / scale → q, still as floats."""
    q = np.rint(np.multiply(x, np.float32(127)))
    return np.clip(q, -127, 127, out=q)


def _rounded(x: F32) -> F32:
    q = _numbers(x)
    return np.multiply(q, np.float32(1 / 127), out=q)


def _fit(x: F32) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    with np.errstate(under="ignore"):
        code = blocks.search(x, blocks.code_of(np.abs(x).max(axis=0)), OFFSETS, _rounded)
        return _numbers(x * blocks.inverse(code)).astype(np.int8), code.astype(np.uint8)


def _encode(w: F32) -> Parts:
    q, scale = blocks.encode(w, _fit)
    return {".scale": scale, "": q.view(np.int8)}


def _decode(parts: Parts) -> F32:
    return blocks.scaled(parts[""].astype(np.float32) * np.float32(1 / 127), parts[".scale"])


int8 = Encoding("int8", 1 + 1 / blocks.BLOCK, blocks.LARGEST, blocks.layout(1, "I8"), _encode, _decode)
