"""Weight matrices as kernels see them: a byte buffer of 16-column chunks and a byte buffer of what each 32-column block has beside them."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from typing import TYPE_CHECKING, Any, cast

from py_rwkv.kernels.base import Dim
from py_rwkv.lazy import np
from py_rwkv.quant import BLOCK, ENCODINGS

if TYPE_CHECKING:
    from numpy import ndarray

Memo = Callable[[Any, Callable[[], Any]], Any]
NUMPY = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}
ITEM = {"F32": 4, "F16": 2, "I8": 1, "U8": 1}


def padded(columns: int) -> int:
    """Columns as stored: a multiple of 16."""
    return ceil(columns / 16) * 16


# Bytes that a shader loads at once: a texel, where weights are held in textures. lib/words4_….wgsl, words2, scales
TEXELS = {"f32": 16, "f16": 16, "int8": 16, "nf4": 8, "int4": 8}
SCALE_TEXEL = 4


def layout(encoding: str, columns: int, held: str = "buffers") -> dict[str, Any]:
    """The constants every kernel that reads a matrix needs."""
    sizes = {"CHUNKS": padded(columns) // 16, "BLOCKS": ceil(padded(columns) / BLOCK), "TAIL": int(columns % 16 > 0)}
    return {"encoding": encoding, "held": held} | sizes


def texel(held: str, encoding: str, suffix: str = "") -> int:
    """Bytes of a texel of a stored part; 0 for a buffer, as scales have one where weights are `textures`."""
    if suffix:
        return SCALE_TEXEL if held == "images" else 0
    return 0 if held == "buffers" else TEXELS[encoding]


def grid(c: Any, count: str = "rows") -> tuple[Dim, Dim]:
    """Workgroups of a kernel that multiplies M weight rows with `count` tokens, by its tile ("ROWSxTOKENS"). Tokens come first: workgroups that follow each
    other read the same weights, which are still in the cache then."""
    rows, tokens = map(int, c["tile"].split("x"))
    return Dim(1, tokens, count), Dim(ceil(c["M"] / rows), c["WG"] // c["LANES"])


def row_bytes(encoding: str, columns: int) -> dict[str, int]:
    """Bytes a row takes in each stored part: suffix → bytes ("" the weights, ".scale" their scales where the encoding has them)."""
    parts = ENCODINGS[encoding].layout(1, padded(columns))
    return {suffix: prod(shape) * ITEM[dtype] for suffix, (dtype, shape) in parts.items()}


def matrix(
    memo: Memo, encoding: str, weights: ndarray, scales: ndarray, rows: int, columns: int, at: int = 0, scale_at: int = 0
) -> ndarray:
    """Decode `rows` × `columns` weights that start at chunk `at` and block `scale_at`: f32 [rows, columns], remembered by `memo`."""

    def make() -> ndarray:
        parts, one = {}, row_bytes(encoding, 16)  # bytes of a chunk, and of a block
        for suffix, (dtype, shape) in ENCODINGS[encoding].layout(rows, padded(columns)).items():
            memory, start = (scales, scale_at * one[suffix]) if suffix else (weights, at * one[suffix])
            parts[suffix] = memory[start : start + prod(shape) * ITEM[dtype]].view(NUMPY[dtype]).reshape(shape)
        return ENCODINGS[encoding].decode(parts)[:, :columns]

    return cast("ndarray", memo((weights.__array_interface__["data"][0], at, rows, columns), make))


def taken(c: Any, x: ndarray) -> ndarray:
    """The input x [tokens, K] as the products use it: as it is, or each 16 columns rounded, by the largest among them, to 8 bits (`dots` packed) or f16 (half)."""
    if c.dots == "float":
        return x
    columns = np.zeros((len(x), padded(x.shape[1]) // 16, 16), np.float32)
    columns.reshape(len(x), -1)[:, : x.shape[1]] = x
    most = np.abs(columns).max(axis=2, keepdims=True)
    if c.dots == "half":
        shares = (columns / np.maximum(most, np.float32(1e-30))).astype(np.float16).astype(np.float32)
        return cast("ndarray", (shares * most).reshape(len(x), -1)[:, : x.shape[1]])
    q = np.rint(columns * (np.float32(127) / np.maximum(most, np.float32(1e-30))))
    return cast("ndarray", (q * (most / np.float32(127))).reshape(len(x), -1)[:, : x.shape[1]])
