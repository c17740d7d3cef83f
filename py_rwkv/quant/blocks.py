"""What the searched encodings share: 32 columns of a row are a block, and a block's scale is one byte. docs/quantization.md

Small blocks with coarse scales are better than large ones with fine scales at equal bits: a search over all of the block's weights costs nothing at run time
and finds, next to the largest magnitude, a scale on the grid that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32

    U8 = NDArray[np.uint8]

BLOCK = 32  # columns that share a scale
LARGEST = 61440.0  # the largest scale
AT_ONCE = 1 << 11  # blocks per pass: 256 KiB of f32, so that temporaries stay in cache
EXPONENT = 111 << 23  # of the smallest scale, 2⁻¹⁶


def scale_of(code: NDArray[Any]) -> F32:
    """2^(⌊c / 8⌋ − 16) · (1 + (c mod 8) / 8) for codes 0 … 255: the code is the last 5 bits of an f32's exponent and the first 3 of its mantissa."""
    scale: F32 = ((np.clip(code, 0, 255).astype(np.uint32) << 20) + np.uint32(EXPONENT)).view(np.float32)
    return scale


def inverse(code: NDArray[Any]) -> F32:
    """1 / scale, rounded to f32."""
    one: F32 = np.reciprocal(scale_of(code))
    return one


def code_of(scale: F32) -> NDArray[np.int32]:
    """The code of the nearest scale, on the grid as it continues below 0 and above 255."""
    return (np.ascontiguousarray(scale, np.float32).view(np.int32) - np.int32(EXPONENT) + np.int32(1 << 19)) >> 20


def encode(w: F32, fit: Callable[[F32], tuple[NDArray[Any], ...]], bytes_per_block: int = 1) -> tuple[NDArray[Any], U8]:
    """Call `fit` on the blocks of w [M, K], many at once: f32 [32, n], a block being a column so that numpy's inner loops are long, zeros after the last column.

    fit returns whole numbers [32, n] in 8 bits, and `bytes_per_block` arrays u8 [n]. Returns the numbers [M, K] and the bytes [M, ⌈K/32⌉ · bytes_per_block].
    """
    rows, columns = w.shape
    per_row = -(-columns // BLOCK)
    q, about = np.empty((rows, columns), np.uint8), np.empty((rows, per_row, bytes_per_block), np.uint8)
    step = max(1, AT_ONCE // per_row)
    for r in range(0, rows, step):
        x = np.zeros((min(step, rows - r), per_row * BLOCK), np.float32)
        x[:, :columns] = w[r : r + step]
        numbers, *found = fit(np.ascontiguousarray(x.reshape(-1, BLOCK).T))
        q[r : r + step] = numbers.view(np.uint8).T.reshape(x.shape)[:, :columns]
        about[r : r + step] = np.stack(found, axis=-1).reshape(-1, per_row, bytes_per_block)
    return q, about.reshape(rows, -1)


def search(x: F32, codes: NDArray[np.int32], offsets: tuple[int, ...], rounded: Callable[[F32], F32]) -> NDArray[np.int32]:
    """For every block the code among codes + offsets with the least Σ (scale · rounded(x / scale) − x)², the first of equals: i32 [n]."""
    best, least = codes, np.full(codes.shape, np.inf, np.float32)
    for offset in offsets:
        tried = np.clip(codes + np.int32(offset), 0, 255)
        d = rounded(x * inverse(tried))
        np.multiply(d, scale_of(tried), out=d)
        np.subtract(d, x, out=d)
        e = np.square(d, out=d).sum(axis=0)
        best, least = np.where(e < least, tried, best), np.minimum(e, least)
    return best


def pack4(q: U8) -> U8:
    """Numbers 0 … 15 [M, K], K a multiple of 8, two to a byte [M, K / 2]: byte i of eight columns' four holds columns i (low bits) and 4 + i (high bits)."""
    eights: U8 = q.reshape(len(q), -1, 2, 4)
    packed: U8 = (eights[:, :, 0] | eights[:, :, 1] << np.uint8(4)).reshape(len(q), -1)
    return packed


def unpack4(packed: U8) -> U8:
    """The inverse of `pack4`."""
    fours: U8 = packed.reshape(len(packed), -1, 1, 4)
    q: U8 = np.concatenate([fours & 15, fours >> 4], axis=2).reshape(len(packed), -1)
    return q


def scaled(w: F32, codes: U8) -> F32:
    """w [M, K], each block times its scale, in place."""
    scale = scale_of(codes)
    for b in range(scale.shape[1]):  # block by block: np.repeat of the scales would cost a second tensor
        w[:, b * BLOCK : (b + 1) * BLOCK] *= scale[:, b : b + 1]
    return w


def layout(columns_per_byte: int, dtype: str, bytes_per_block: int = 1) -> Callable[[int, int], dict[str, tuple[str, tuple[int, ...]]]]:
    """`Encoding.layout` of weights that take 1 / columns_per_byte bytes."""
    return lambda m, k: {".scale": ("U8", (m, -(-k // BLOCK) * bytes_per_block)), "": (dtype, (m, k // columns_per_byte))}
