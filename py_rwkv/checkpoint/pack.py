"""Checkpoint → packed tensors, one at a time and in blocks of rows: what is in memory is one encoded tensor, never a whole one in f32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from py_rwkv.checkpoint.checkpoint import Checkpoint, to_f32
from py_rwkv.checkpoint.layout import Fold, Packed, layout
from py_rwkv.checkpoint.safetensors import Piece
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Config
from py_rwkv.quant import ENCODINGS, Encoding, Strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

AT_ONCE = 1 << 20  # weights per block of rows


def pack(checkpoint: Checkpoint, config: Config, strategy: Strategy) -> Iterator[Piece]:
    """The packed tensors of `layout(config)`, each matrix as its parts (`NAME.rows` if rows repeat, then `NAME.scale`, then `NAME`).

    RwkvError: `bad-weights` (NaN or infinity, named), `weights-too-large`, `unsupported-dtype`, and whatever reading raises.
    """
    for t in layout(config):
        if t.kind == "vector":
            yield _piece(t.name, _vector(checkpoint, t))
        else:
            parts = _matrix(checkpoint, t, ENCODINGS[strategy.encoding(t.name)])
            yield from (_piece(t.name + suffix, parts.pop(suffix)) for suffix in sorted(parts, key=(".rows", ".scale", "").index))


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


def _matrix(checkpoint: Checkpoint, t: Packed, encoding: Encoding) -> Parts:
    """The parts of one matrix. Each distinct row is encoded once, and also stored once if more than half of the rows are repetitions."""
    norm = layer_norm(checkpoint, "blocks.0.ln0") if t.name == "emb.weight" else None
    index = np.empty(t.rows, np.uint32)  # for every row: the number of its distinct row
    seen: dict[bytes, int] = {}
    encoded: list[Parts] = []
    for first, raw, block in _blocks(checkpoint, t):
        new = []
        for i, row in enumerate(raw):
            before = len(seen)
            index[first + i] = seen.setdefault(blake2b(row, digest_size=16).digest(), before)
            if len(seen) > before:
                new.append(i)
        if not new:
            continue
        w = _finite(t.name, block[new] if len(new) < len(block) else block)
        w = _finite(t.name, norm(w)) if norm else w
        if (largest := float(np.abs(w).max())) > encoding.largest:
            raise RwkvError("weights-too-large", name=t.name, found=f"{largest:g}", encoding=encoding.name, limit=f"{encoding.largest:g}")
        padded = np.zeros((len(w), t.columns), np.float32)
        padded[:, : w.shape[1]] = w
        encoded.append(encoding.encode(padded))
    parts = {suffix: np.concatenate([e.pop(suffix) for e in encoded]) for suffix in list(encoded[0])}
    if len(seen) * 2 < t.rows:
        return {".rows": index.astype(np.uint16 if len(seen) <= 1 << 16 else np.uint32), **parts}
    return {suffix: part if len(seen) == t.rows else part[index] for suffix, part in parts.items()}


def _blocks(checkpoint: Checkpoint, t: Packed) -> Iterator[tuple[int, list[bytes], F32]]:
    """(first row, each row's bytes, the rows in f32): in the file's order, or transposed for the low-rank factors."""
    info = checkpoint.tensors[t.source]
    if t.kind in ("factor", "factors"):
        w = _factors(checkpoint.f32(t.source), t)
        yield 0, [row.tobytes() for row in w], w
        return
    step, row = max(1, AT_ONCE // info.shape[1]), info.nbytes // info.shape[0]
    for first in range(0, t.rows, step):
        data = checkpoint.read(t.source, first, min(step, t.rows - first))
        yield first, [data[at : at + row] for at in range(0, len(data), row)], to_f32(t.name, info.dtype, data).reshape(-1, info.shape[1])


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

    def norm(x: F32) -> F32:
        with np.errstate(under="ignore", over="ignore", invalid="ignore"):  # the caller looks at the result
            x = x - x.mean(axis=1, keepdims=True)
            out: F32 = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float32(1e-5)) * gain + bias
        return out

    return norm


def _finite(name: str, w: F32) -> F32:
    if not np.isfinite(w).all():
        raise RwkvError("bad-weights", name=name)
    return w


DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint16": "U16", "uint32": "U32", "uint8": "U8"}


def _piece(name: str, array: NDArray[Any]) -> Piece:
    return Piece(name, DTYPES[array.dtype.name], array.shape, np.ascontiguousarray(array).data.cast("B"))
