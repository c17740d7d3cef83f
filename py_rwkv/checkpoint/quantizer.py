"""From rows of a checkpoint to the parts of their encoding: the interface, and numpy behind it. The same on a GPU: `devices/gpu_quantizer.py`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from py_rwkv.checkpoint.checkpoint import to_f32
from py_rwkv.checkpoint.layout import padded
from py_rwkv.lazy import np
from py_rwkv.quant import ENCODINGS

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32, Parts

MASKS = {
    "F32": ("<u4", 0x7FFFFFFF, 0x7F800000),
    "F16": ("<u2", 0x7FFF, 0x7C00),
    "BF16": ("<u2", 0x7FFF, 0x7F80),
}  # all but the sign; infinity


@dataclass(frozen=True)
class Rows:
    """Rows of a matrix, `columns` wide, as the bytes in which their file has them (dtype F32, F16 or BF16)."""

    dtype: str
    columns: int
    data: bytes

    def __len__(self) -> int:
        return len(self.data) // self.row_bytes

    @property
    def row_bytes(self) -> int:
        return self.columns * (4 if self.dtype == "F32" else 2)

    def f32(self) -> F32:
        """The numbers, f32 [rows, columns]."""
        return to_f32("", self.dtype, self.data).reshape(-1, self.columns)

    def largest(self) -> float:
        """The largest magnitude; infinity if one of them is no finite number. Magnitudes are ordered as their bits are."""
        kind, mask, infinity = MASKS[self.dtype]
        top = int((np.frombuffer(self.data, kind) & mask).max())
        return (
            float("inf") if top >= infinity else float(to_f32("", self.dtype, top.to_bytes(4 if self.dtype == "F32" else 2, "little"))[0])
        )


class Quantizer(Protocol):
    """Encodes blocks of rows. `weights`: how many it likes to get at once."""

    weights: int

    async def encode(self, encoding: str, rows: Rows) -> Parts:
        """The parts {suffix: array} of the rows, each padded with zeros to a multiple of 16 columns."""
        ...


class NumpyQuantizer:
    """The reference: `Encoding.encode`. Other coroutines get their turn between blocks, in the page also a request to stop."""

    weights = 1 << 20

    async def encode(self, encoding: str, rows: Rows) -> Parts:
        await asyncio.sleep(0)
        x = np.zeros((len(rows), padded(rows.columns)), np.float32)
        x[:, : rows.columns] = rows.f32()
        return ENCODINGS[encoding].encode(x)
