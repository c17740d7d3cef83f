"""Checkpoint → packed tensors, one at a time and in blocks of rows: what is in memory is one encoded tensor, never a whole one in f32."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from py_rwkv.checkpoint.checkpoint import Checkpoint, to_f32
from py_rwkv.checkpoint.embedding import NORMALIZED, fold
from py_rwkv.checkpoint.layout import Fold, Packed, layout
from py_rwkv.checkpoint.quantizer import NumpyQuantizer, Quantizer, Rows
from py_rwkv.checkpoint.safetensors import Piece
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Config
from py_rwkv.quant import ENCODINGS, Encoding, Strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts


async def pack(
    checkpoint: Checkpoint,
    config: Config,
    strategy: Strategy,
    quantizer: Quantizer | None = None,
    skip: Callable[[str], bool] | None = None,
) -> AsyncGenerator[Piece]:
    """The packed tensors of `layout(config)`, each matrix as its parts (`NAME.rows` if rows repeat, then `NAME.scale`, then `NAME`), without those to `skip`.

    RwkvError: `bad-weights` (NaN or infinity, named), `weights-too-large`, `unsupported-dtype`, and whatever reading raises.
    """
    for t in layout(config):
        if skip and skip(t.name):
            continue
        if t.kind == "vector":
            yield _piece(t.name, _vector(checkpoint, t))
        else:
            parts = await _matrix(checkpoint, t, ENCODINGS[strategy.encoding(t.name)], quantizer or NumpyQuantizer())
            for suffix in sorted(parts, key=(".rows", ".scale", "").index):
                yield _piece(t.name + suffix, parts.pop(suffix))


def check_dtypes(checkpoint: Checkpoint, config: Config) -> None:
    """RwkvError `unsupported-dtype` before anything is read, not in the middle."""
    for t in layout(config):
        to_f32(t.source, checkpoint.tensors[t.source].dtype, b"")


def _vector(checkpoint: Checkpoint, t: Packed) -> F32:
    """The vector, folded in f64 and rounded once: f32 [columns]."""
    v = _finite(t.source, checkpoint.f32(t.source)).reshape(-1)
    if t.fold:
        with np.errstate(over="ignore", under="ignore"):
            v = _finite(t.source, FOLDS[t.fold](v.astype(np.float64)).astype(np.float32))
    return np.repeat(v, t.columns // len(v)) if len(v) < t.columns else v


FOLDS: dict[Fold, Callable[[Any], Any]] = {"complement": lambda v: 1 - v, "exp": lambda v: np.exp(v), "decay": lambda v: np.exp(-np.exp(v))}


async def _matrix(checkpoint: Checkpoint, t: Packed, encoding: Encoding, quantizer: Quantizer) -> Parts:
    """The parts of one matrix. Each distinct row is encoded once, and also stored once if more than half of the rows are repetitions."""
    norm = layer_norm(checkpoint, "blocks.0.ln0") if t.name == "emb.weight" else None
    index = np.empty(t.rows, np.uint32)  # for every row: the number of its distinct row
    seen: dict[bytes, int] = {}
    parts: Parts = {suffix: np.empty(shape, NUMPY[dtype]) for suffix, (dtype, shape) in encoding.layout(t.rows, t.columns).items()}
    for first, rows in _blocks(checkpoint, t, quantizer.weights):
        done = len(seen)
        if not (rows := _distinct(rows, seen, index[first:])).data:
            continue
        largest = _finite_largest(t.name, rows)
        if norm:
            rows = Rows("F32", rows.columns, norm(rows.f32()).tobytes())
            largest = _finite_largest(t.name, rows)
        if largest > encoding.largest:
            raise RwkvError("weights-too-large", name=t.name, found=f"{largest:g}", encoding=encoding.name, limit=f"{encoding.largest:g}")
        for suffix, part in (await quantizer.encode(encoding.name, rows)).items():
            parts[suffix][done : len(seen)] = part
    if len(seen) == t.rows:
        return parts
    if len(seen) * 2 < t.rows:
        index = index.astype(np.uint16 if len(seen) <= 1 << 16 else np.uint32)
        return {".rows": index, **{suffix: parts.pop(suffix)[: len(seen)].copy() for suffix in list(parts)}}
    return {suffix: parts.pop(suffix)[index] for suffix in list(parts)}


def _distinct(rows: Rows, seen: dict[bytes, int], index: NDArray[Any]) -> Rows:
    """The rows that are not in `seen` yet, which gets them; `index` gets the number of each row."""
    new, data, size = [], memoryview(rows.data), rows.row_bytes
    for i in range(len(rows)):
        before = len(seen)
        index[i] = seen.setdefault(blake2b(data[i * size : (i + 1) * size], digest_size=16).digest(), before)
        if len(seen) > before:
            new.append(i)
    if len(new) == len(rows):
        return rows
    return Rows(rows.dtype, rows.columns, b"".join([data[i * size : (i + 1) * size] for i in new]))


def _blocks(checkpoint: Checkpoint, t: Packed, weights: int) -> Iterator[tuple[int, Rows]]:
    """(first row, some rows): in the file's order, or transposed for the low-rank factors."""
    info = checkpoint.tensors[t.source]
    if t.kind in ("factor", "factors"):
        w = _factors(checkpoint.f32(t.source), t)
        step = _rows_at_once(w.shape[1], weights)
        for first in range(0, t.rows, step):
            yield first, Rows("F32", w.shape[1], w[first : first + step].tobytes())
        return
    step = _rows_at_once(info.shape[1], weights)
    for first in range(0, t.rows, step):
        yield first, Rows(info.dtype, info.shape[1], checkpoint.read(t.source, first, min(step, t.rows - first)))


def _rows_at_once(columns: int, weights: int) -> int:
    """Whole blocks of 64 columns count: that is how encodings divide a row."""
    return max(1, weights // (-(-columns // 64) * 64))


def _factors(w: F32, t: Packed) -> F32:
    """One factor [inputs, outputs], or several, as the rows of one matrix: f32 [rows, inputs]."""
    by_group = w.swapaxes(1, 2) if w.ndim == 3 else w.T.reshape(t.groups, -1, w.shape[0])
    rows = np.zeros((t.groups, t.rows // t.groups, by_group.shape[2]), np.float32)
    rows[:, : by_group.shape[1]] = by_group
    out: F32 = rows.reshape(t.rows, -1)
    return out


def layer_norm(checkpoint: Checkpoint, name: str) -> Callable[[F32], F32]:
    """The LayerNorm `name` of the checkpoint as a function of rows f32 [n, C]."""
    gain, bias = (_finite(part, checkpoint.f32(part)).reshape(-1) for part in (f"{name}.weight", f"{name}.bias"))
    normalized = NORMALIZED.items() <= checkpoint.metadata.items()
    return lambda x: fold(x, gain, bias, normalized=normalized)


def _finite(name: str, w: F32) -> F32:
    if not np.isfinite(w).all():
        raise RwkvError("bad-weights", name=name)
    return w


def _finite_largest(name: str, rows: Rows) -> float:
    if (largest := rows.largest()) == float("inf"):
        raise RwkvError("bad-weights", name=name)
    return largest


NUMPY = {"F32": "f4", "F16": "f2", "I8": "i1", "U16": "u2", "U32": "u4", "U8": "u1"}
DTYPES = {np_type: dtype for dtype, np_type in NUMPY.items()}


def _piece(name: str, array: NDArray[Any]) -> Piece:
    return Piece(name, DTYPES[array.dtype.str[1:]], array.shape, np.ascontiguousarray(array).data.cast("B"))
