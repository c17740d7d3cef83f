"""The index of a matrix that stores repeated rows once (`NAME.rows`, docs/formats.md): which stored row each row is. lib/row_index.wgsl"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray

WIDTHS = {"U16": 16, "U32": 32}  # bits of an entry, by safetensors dtype


def index(count: int, dtype: str = "U32") -> dict[str, int]:
    """The constants of an index of so many rows; 0: there is none, and what is bound in its place is not read."""
    bits = WIDTHS[dtype] if count else 0
    return {"V": count, "WORDS": -(-count * bits // 32) or 1, "BITS": bits}


def entries(c: Any, rows: ndarray) -> ndarray:
    """Its entries, in place: u16 or u32 [V]."""
    return rows.view(np.uint16 if c.BITS == 16 else np.uint32)[: c.V]
