"""int8: symmetric, weight = q / 127 · scale with q in −127..127 and one f16 scale per 64 columns of a row (8.25 bits per weight).

The scale is searched: candidates around the block's largest magnitude are tried and the best one is refitted by least squares (on normal weights
5 % less error than with the largest magnitude itself). Every candidate is rounded to f16 before it is judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py_rwkv.lazy import np
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

BLOCK = 64
FACTORS = tuple(1.04 - 0.005 * i for i in range(17))  # around the largest magnitude; above it too, where rounding happens to fit better
AT_ONCE = 1 << 14  # blocks per pass: 4 MiB of f32, so that temporaries stay in cache and far below a tensor's size


def _encode(w: F32) -> Parts:
    rows, columns = w.shape
    per_row = -(-columns // BLOCK)
    q, scale = np.empty((rows, columns), np.int8), np.empty((rows, per_row), np.float16)
    step = max(1, AT_ONCE // max(1, per_row))
    for r in range(0, rows, step):
        x = np.zeros((min(step, rows - r), per_row * BLOCK), np.float32)
        x[:, :columns] = w[r : r + step]
        blocks, scales = _fit(x.reshape(-1, BLOCK))
        q[r : r + step] = blocks.reshape(x.shape)[:, :columns]
        scale[r : r + step] = scales.reshape(-1, per_row)
    return {".scale": scale, "": q}


def _fit(x: F32) -> tuple[NDArray[Any], NDArray[Any]]:
    """q i8 [n, 64] and scale f16 [n] for the blocks x f32 [n, 64]."""
    with np.errstate(under="ignore", over="ignore"):
        largest = np.abs(x).max(axis=1)
        best, error = _f16(largest), np.full(len(x), np.inf, np.float32)
        for factor in FACTORS:
            s = _f16(largest * np.float32(factor))
            best, error = _better(best, error, s, _error(x, _round(x, s), s))
        q = _round(x, best)
        refit = _f16(127 * np.einsum("ij,ij->i", q, x) / np.maximum(np.einsum("ij,ij->i", q, q), 1))
        best, error = _better(best, error, refit, _error(x, _round(x, refit), refit))
        return _round(x, best).astype(np.int8), best.astype(np.float16)


def _f16(scale: F32) -> F32:
    return np.clip(scale, 0, 65504).astype(np.float16).astype(np.float32)


def _round(x: F32, s: F32) -> F32:
    """The nearest q of every weight, still as floats."""
    inverse = np.divide(127, s, out=np.zeros_like(s), where=s > 0)
    q = x * inverse[:, None]
    np.rint(q, out=q)
    return np.clip(q, -127, 127, out=q)


def _error(x: F32, q: F32, s: F32) -> F32:
    d = q * (s / 127)[:, None]
    d -= x
    out: F32 = np.einsum("ij,ij->i", d, d)
    return out


def _better(best: F32, error: F32, s: F32, e: F32) -> tuple[F32, F32]:
    return np.where(e < error, s, best), np.minimum(e, error)


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
