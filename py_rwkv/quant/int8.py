"""int8: symmetric, weight = q / 127 · scale with q in −127..127 and one f16 scale per 64 columns of a row (8.25 bits per weight).

The scale is searched: candidates around the block's largest magnitude are tried and the best one is refitted by least squares (on normal weights
4 % less error than with the largest magnitude itself). Every candidate is rounded to f16 before it is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py_rwkv.lazy import np
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

BLOCK = 64
FACTORS = (1.04, 1.03, 1.02, 1.01, 0.99, 0.98, 0.97, 0.96)  # of the largest magnitude; above it too: rounding may happen to fit better
AT_ONCE = 1 << 11  # blocks per pass: 512 KiB of f32, so that temporaries stay in cache


def _encode(w: F32) -> Parts:
    rows, columns = w.shape
    per_row = -(-columns // BLOCK)
    q, scale = np.empty((rows, columns), np.int8), np.empty((rows, per_row), np.float16)
    step = max(1, AT_ONCE // max(1, per_row))
    for r in range(0, rows, step):
        x = np.zeros((min(step, rows - r), per_row * BLOCK), np.float32)
        x[:, :columns] = w[r : r + step]
        blocks, scales = _fit(np.ascontiguousarray(x.reshape(-1, BLOCK).T))
        q[r : r + step] = blocks.T.reshape(x.shape)[:, :columns]
        scale[r : r + step] = scales.reshape(-1, per_row)
    return {".scale": scale, "": q}


def _fit(x: F32) -> tuple[NDArray[Any], NDArray[Any]]:
    """q i8 [64, n] and scale f16 [n] for the blocks x f32 [64, n]: a block is a column, so that numpy's inner loops are long."""
    q, d = np.empty_like(x), np.empty_like(x)

    def quantize(s: F32) -> F32:
        """q := the nearest whole numbers, still as floats."""
        np.multiply(x, np.divide(127, s, out=np.zeros_like(s), where=s > 0), out=q)
        np.rint(q, out=q)
        return np.clip(q, -127, 127, out=q)

    def error(s: F32) -> F32:
        np.multiply(quantize(s), s / 127, out=d)
        np.subtract(d, x, out=d)
        np.square(d, out=d)
        total: F32 = d.sum(axis=0)
        return total

    with np.errstate(under="ignore", over="ignore"):
        largest = np.abs(x).max(axis=0)
        best = _f16(largest)
        least = error(best)
        for factor in (*FACTORS, None):
            if factor is None:  # last, the least squares scale for the best q so far
                quantize(best)
                s = _f16(127 * (q * x).sum(axis=0) / np.maximum((q * q).sum(axis=0), 1))
            else:
                s = _f16(largest * np.float32(factor))
            e = error(s)
            best, least = np.where(e < least, s, best), np.minimum(e, least)
        return quantize(best).astype(np.int8), best.astype(np.float16)


def _f16(scale: F32) -> F32:
    return np.clip(scale, 0, 65504).astype(np.float16).astype(np.float32)


def _decode(parts: Parts) -> F32:
    q, scale = parts[""], parts[".scale"].astype(np.float32) / 127
    w: F32 = q.astype(np.float32)
    for b in range(scale.shape[1]):  # block by block: np.repeat of the scales would cost a second tensor
        w[:, b * BLOCK : (b + 1) * BLOCK] *= scale[:, b : b + 1]
    return w


int8 = Encoding(
    "int8",
    1 + 2 / BLOCK,
    65504,
    lambda m, k: {".scale": ("F16", (m, -(-k // BLOCK))), "": ("I8", (m, k))},
    _encode,
    _decode,
)
