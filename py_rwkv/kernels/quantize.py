"""Rows of a checkpoint → the parts of their encoding, on a GPU: one kernel `quantize_ENCODING` for each encoding that searches its scales.

Their references are the encodings themselves, and they make the same bytes.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import Constants, Dim, kernel
from py_rwkv.lazy import np
from py_rwkv.quant import BLOCK, ENCODINGS
from py_rwkv.quant.nf4 import VALUES

CASES = {"int8": ("f32", "f16", "bf16"), "nf4": ("f16",), "int4": ("bf16",)}  # the encodings, and dtypes for the pair test
CODEBOOK = {f"V{i}": value for i, value in enumerate(VALUES)}
NUMPY = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}


def constants(encoding: str, dtype: str, capacity: int) -> dict[str, Any]:
    """Of a kernel for rows in this dtype (`f32`, `f16`, `bf16`) that takes up to `capacity` blocks at once."""
    return {"dtype": dtype, "CAPACITY": capacity, "WG": 64} | (CODEBOOK if encoding == "nf4" else {})


def sizes(rows: int, columns: int) -> tuple[int, int, int, int]:
    """What the kernels want to know: rows, columns in the file, stored columns, blocks a row."""
    return rows, columns, -(-columns // 16) * 16, -(-columns // BLOCK)


def scale_bytes(words: Any, encoding: str) -> Any:
    """The scales as they are stored (u8 [n]), from the kernels' one word per block."""
    [(_, (_, per_block))] = [part for suffix, part in ENCODINGS[encoding].layout(1, BLOCK).items() if suffix]
    return words.astype(f"<u{per_block}").view(np.uint8)


def _fill(rng: Any, c: Any, shape: Any, source: Any, **outputs: Any) -> None:
    """Rows that do not fill the capacity; some values are zero, subnormal as f16, or far out, some blocks end in zeros."""
    columns = {"f32": 200, "f16": 77, "bf16": 64}[c.dtype]
    rows = c.CAPACITY // -(-columns // BLOCK) - 1
    x = rng.standard_normal((rows, columns)).astype(np.float32) * np.float32(10) ** rng.uniform(-6, 2, (rows, 1)).astype(np.float32)
    x[:3, :64], x[3, 5:60], x[4, :7], x[5:9, 31] = 0, 1e-7, 3000, 0
    numbers = (x.view(np.uint32) >> 16).astype(np.uint16) if c.dtype == "bf16" else x.astype(NUMPY[c.dtype])
    raw = np.frombuffer(numbers.tobytes(), np.uint8)
    source.view(np.uint8)[: raw.size] = raw
    shape[:] = sizes(rows, columns)


def _declare(encoding: str) -> None:
    @kernel(
        f"quantize_{encoding}",
        reads={"shape": "u32[4]", "source": f"u32[{BLOCK}*CAPACITY]"},
        writes={"q": f"u32[{BLOCK // 4}*CAPACITY]", "scale": "u32[CAPACITY]"},
        constants=tuple(constants(encoding, "f32", 0)),
        grid=_grid,
        cases=tuple(constants(encoding, dtype, 200) for dtype in CASES[encoding]),
        prepare=_fill,
    ).reference
    def _(step: Any, c: Any, memo: Any, shape: Any, source: Any, q: Any, scale: Any) -> None:
        rows, columns, stored, blocks = (int(n) for n in shape)
        numbers = source.view(NUMPY[c.dtype])[: rows * columns].reshape(rows, columns)
        x = np.zeros((rows, stored), np.float32)
        x[:, :columns] = (numbers.astype(np.uint32) << 16).view(np.float32) if c.dtype == "bf16" else numbers
        parts = ENCODINGS[encoding].encode(x)
        q.view(np.uint8)[: parts[""].size] = parts[""].view(np.uint8).reshape(-1)
        about = parts[".scale"].reshape(rows * blocks, -1).astype(np.uint32)
        scale[: len(about)] = (about << np.arange(0, 8 * about.shape[1], 8, dtype=np.uint32)).sum(axis=1)


def _grid(c: Constants) -> tuple[Dim, ...]:
    return Dim(c["CAPACITY"], c["WG"]), Dim()


for name in CASES:
    _declare(name)
