"""int4: affine, weight = (q − zero / 16) · scale, q in 0..15 (4.5 bits per weight). docs/quantization.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np
from py_rwkv.quant import blocks
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

OFFSETS = (0, -1, -2, -3, 1)
REFITS = 2


def _fit(x: F32) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """A block whose last weight is zero ends in padding, perhaps: there, zero is exact (zero / 16 is whole)."""
    low, high = np.minimum(x.min(axis=0), 0), np.maximum(x.max(axis=0), 0)
    codes = blocks.code_of((high - low) * np.float32(1 / 15))
    unit = np.where(x[-1] == 0, np.float32(1), np.float32(1 / 16))
    best, best_zero, least = codes, np.zeros_like(low), np.full(codes.shape, np.inf, np.float32)
    for offset in OFFSETS:
        code = np.clip(codes + np.int32(offset), 0, 255)
        s, r = blocks.scale_of(code), blocks.inverse(code)
        y = x * r
        zero = _zero(np.float32(7.5) - (low + high) * (np.float32(0.5) * r), unit)
        for _ in range(REFITS + 1):
            q = _numbers(y, zero)
            e = np.square((q - zero) * s - x).sum(axis=0)
            better = e < least
            best, best_zero, least = np.where(better, code, best), np.where(better, zero, best_zero), np.minimum(e, least)
            zero = _zero((q - y).sum(axis=0) * np.float32(1 / blocks.BLOCK), unit)
    return _numbers(x * blocks.inverse(best), best_zero).astype(np.uint8), best.astype(np.uint8), (best_zero * 16).astype(np.uint8)


def _zero(exact: F32, unit: F32) -> F32:
    zero: F32 = np.clip(np.rint(exact / unit) * unit, 0, 15)
    return zero


def _numbers(y: F32, zero: F32) -> F32:
    q: F32 = np.rint(y + zero)
    return np.clip(q, 0, 15, out=q)


def _encode(w: F32) -> Parts:
    with np.errstate(under="ignore", over="ignore"):
        q, scale = blocks.encode(w, _fit, bytes_per_block=2)
    return {".scale": scale, "": blocks.pack4(q)}


def _decode(parts: Parts) -> F32:
    w, about = blocks.unpack4(parts[""]).astype(np.float32), parts[".scale"].reshape(len(parts[""]), -1, 2)
    for b in range(about.shape[1]):
        w[:, b * blocks.BLOCK : (b + 1) * blocks.BLOCK] -= about[:, b, 1:].astype(np.float32) * np.float32(1 / 16)
    return blocks.scaled(w, about[:, :, 0])


int4 = Encoding("int4", 1 / 2 + 2 / blocks.BLOCK, blocks.LARGEST, blocks.layout(2, "U8", 2), _encode, _decode)
