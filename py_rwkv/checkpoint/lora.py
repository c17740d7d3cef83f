"""LoRA files merged into a checkpoint when it is read: W + alpha / rank · B @ A in f32, before any quantization. Several files, one after another.

Two layouts are known: RWKV-PEFT's (`NAME.lora_A` [rank, in], `NAME.lora_B` [out, rank]) and web-rwkv's `.st` (`NAME.lora.0` [in, rank], `NAME.lora.1`
[out, rank]). Trained vectors lie beside the factors under the model's names and replace its own, or are blended with them. A whole matrix replaces
the model's one in the first layout and is added, times alpha, in web-rwkv's. alpha is in no file: it must be given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.checkpoint import Checkpoint, read_table, to_f32
from py_rwkv.checkpoint.dialects import derive, reading, web_rwkv_name
from py_rwkv.checkpoint.names import normalise
from py_rwkv.checkpoint.safetensors import TensorInfo
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32

FACTOR = re.compile(r"(.+?)(?:\.weight)?\.lora(?:_(A|B)(?:\.default)?(?:\.weight)?|\.(0|1))", re.IGNORECASE)
FOREIGN = {"pissa": "PiSSA factors", "init_lora": "PiSSA factors", "disha": "DiSHA factors", "bone": "Bone factors", "miss": "MiSS factors"}
NEVER = ("emb.weight", "head.weight")  # not touched by a web-rwkv file


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it counts: factors times alpha / rank.

    Only tensors whose official name contains `pattern` (a regular expression) are touched; a file may be listed several times, with a pattern and an
    alpha each. `blend`: vectors become blend · the file's + (1 − blend) · the model's; 1 replaces them.
    """

    source: ByteSource
    alpha: float
    pattern: str = ""
    blend: float = 1.0


@dataclass(frozen=True)
class _Change:
    """One tensor's part of one file. `apply`: (rows of the model's tensor f32, first row) -> changed rows."""

    name: str
    apply: Callable[[F32, int], F32]


def with_lora(checkpoint: Checkpoint, loras: Sequence[Lora]) -> Checkpoint:
    """The checkpoint with these files merged, in order: a checkpoint itself. What they touch is F32.

    RwkvError: `lora-mismatch` (names the tensor, expected and found), `lora-unsupported` (PiSSA, DiSHA, …), `bad-setting`, those of the files.
    """
    changes: dict[str, list[_Change]] = {}
    for lora in loras:
        for change in _changes(checkpoint, lora):
            changes.setdefault(change.name, []).append(change)

    def read(t: TensorInfo, first: int, rows: int) -> bytes:
        if t.name not in changes:
            return checkpoint.read(t.name, first, rows)
        w = checkpoint.f32(t.name, first, rows)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # `pack` looks at the result
            for change in changes[t.name]:
                w = change.apply(w, first)
        return np.ascontiguousarray(w, "<f4").tobytes()

    tensors = {n: derive(t, n, t.shape, lambda w: w, dtype="F32") if n in changes else t for n, t in checkpoint.tensors.items()}
    return checkpoint.over(tensors, read)


def _changes(checkpoint: Checkpoint, lora: Lora) -> list[_Change]:
    file = lora.source.name
    for name, value in (("alpha", lora.alpha), ("blend", lora.blend)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise RwkvError("bad-setting", name=f"{name} of {file}", expected="a finite number", found=str(value)[:40])
    try:
        pattern = re.compile(lora.pattern)
    except re.error as e:
        found = f"{lora.pattern[:80]} ({e})"
        raise RwkvError("bad-setting", name=f"the pattern for {file}", expected="a regular expression", found=found) from None
    table = read_table(lora.source)
    tensors = {short: table.tensors[long] for short, long in normalise(table.tensors).items()}
    _refuse_foreign(file, tensors)
    read = reading(table.reader)

    kept: dict[str, F32] = {}  # the last two: a large tensor is merged in many blocks of rows

    def numbers(t: TensorInfo) -> F32:
        if t.name not in kept:
            if len(kept) > 1:
                kept.pop(next(iter(kept)))
            kept[t.name] = to_f32(t.name, t.dtype, read(t, 0, t.shape[0] if t.shape else 1)).reshape(t.shape)
        return kept[t.name]

    factors: dict[str, dict[str, TensorInfo]] = {}
    whole: dict[str, TensorInfo] = {}
    for name, t in tensors.items():
        if m := FACTOR.fullmatch(name):
            factors.setdefault(m[1], {})[(m[2] or "AB"[int(m[3])]).upper() + ("st" if m[3] else "")] = t
        else:
            whole[name] = t
    st = any("Ast" in parts or "Bst" in parts for parts in factors.values())
    changes = [_factors(checkpoint, lora, base, parts, numbers) for base, parts in factors.items()]
    changes += [_whole(checkpoint, lora, name, t, numbers, st) for name, t in whole.items() if not (st and name in NEVER)]
    if not changes:
        raise RwkvError("lora-mismatch", file=file, name="the file", expected="a LoRA", found="without tensors for this model")
    return [change for change in changes if pattern.search(change.name)]


def _refuse_foreign(file: str, tensors: Mapping[str, TensorInfo]) -> None:
    for name in tensors:
        if word := next((word for word in FOREIGN if f".{word}" in name.lower()), ""):
            raise RwkvError("lora-unsupported", file=file, found=f"{FOREIGN[word]} ({name[:80]})")
    if word := next((word for word in ("pissa", "disha") if word in file.lower()), ""):  # the factors alone look like a plain LoRA's
        raise RwkvError("lora-unsupported", file=file, found=f"{FOREIGN[word]}, to judge by its name")


def _target(checkpoint: Checkpoint, file: str, name: str) -> TensorInfo:
    name = web_rwkv_name(name, checkpoint.tensors)
    for candidate in (name, f"{name}.weight"):
        if candidate in checkpoint.tensors:
            return checkpoint.tensors[candidate]
    raise RwkvError("lora-mismatch", file=file, name=name, expected="a tensor of the model", found="none of its tensors")


def _factors(
    checkpoint: Checkpoint, lora: Lora, base: str, parts: Mapping[str, TensorInfo], numbers: Callable[[TensorInfo], F32]
) -> _Change:
    file, target = lora.source.name, _target(checkpoint, lora.source.name, base)
    a, b = parts.get("A") or parts.get("Ast"), parts.get("B") or parts.get("Bst")
    if a is None or b is None or len(parts) != 2:
        raise RwkvError("lora-mismatch", file=file, name=base, expected="two factors", found=f"{len(parts)} ({', '.join(sorted(parts))})")
    if len(target.shape) != 2:
        raise RwkvError("lora-mismatch", file=file, name=base, expected=f"a vector or {_text(target.shape)}", found="a pair of factors")
    rows, columns = target.shape
    rank = b.shape[1] if len(b.shape) == 2 else 0
    shapes = {(rank, columns): False, (columns, rank): True}  # is A transposed?
    if not rank or b.shape[0] != rows or a.shape not in shapes:
        found = f"{_text(b.shape)} times {_text(a.shape)}"
        raise RwkvError("lora-mismatch", file=file, name=base, expected=f"{rows} × rank times rank × {columns}", found=found)
    turned = shapes[a.shape] if rank != columns else "Ast" in parts
    scale = lora.alpha / rank

    def apply(w: F32, first: int) -> F32:
        left, right = numbers(b)[first : first + len(w)], numbers(a)
        out: F32 = w + np.float32(scale) * (left @ (right.T if turned else right))
        return out

    return _Change(target.name, apply)


def _whole(checkpoint: Checkpoint, lora: Lora, name: str, t: TensorInfo, numbers: Callable[[TensorInfo], F32], st: bool) -> _Change:
    file, target = lora.source.name, _target(checkpoint, lora.source.name, name)
    vector = sum(n > 1 for n in target.shape) < 2
    swapped = (*target.shape[:-2], *target.shape[:-3:-1])
    if prod(t.shape) != prod(target.shape) or not vector and t.shape not in (target.shape, swapped):
        raise RwkvError("lora-mismatch", file=file, name=name, expected=_text(target.shape), found=_text(t.shape))
    matrix = len(target.shape) == 2 and target.name.endswith(".weight")
    turned = not vector and t.shape != target.shape

    def apply(w: F32, first: int) -> F32:
        own = numbers(t)
        own = (own.swapaxes(-1, -2) if turned else own.reshape(target.shape))[first : first + len(w)] if target.shape else own
        if matrix:
            out: F32 = w + np.float32(lora.alpha) * own if st else own
        else:
            out = own if lora.blend == 1 else np.float32(lora.blend) * own + np.float32(1 - lora.blend) * w
        return out

    return _Change(target.name, apply)


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
