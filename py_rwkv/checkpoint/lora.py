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
from py_rwkv.checkpoint.embedding import NORMALIZED
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

    alpha: a number, or {regular expression: number}. Of the patterns found in a tensor's official name the last one counts; tensors without any are
    left alone, and "" is found in all. `blend`: vectors become blend · the file's + (1 − blend) · the model's; 1 replaces them.
    """

    source: ByteSource
    alpha: float | Mapping[str, float]
    blend: float = 1.0


def parse_lora(text: str) -> tuple[str, dict[str, float], float]:
    """`FILE:ALPHA`, `FILE:PATTERN=ALPHA,…` → (file, alpha by pattern, blend). Parts are a number (for every tensor), `PATTERN=NUMBER`, or `blend=NUMBER`.

    A later pattern overrides an earlier one. A comma divides parts only behind a number, so that patterns may contain some. FILE ends at the first colon
    behind its ending (.pth, .st, …). RwkvError `bad-setting`.
    """
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    part = rf"(?:({number})|(.*?)=({number}))(?:,|$)"
    file = re.fullmatch(r"(.+?\.(?:pth|pt|bin|st|safetensors)(?:\?[^:]*)?|[^:]+):(.+)", text)
    if not file or not re.fullmatch(f"(?:{part})+", file[2]) or file[2].endswith(","):
        expected = "FILE:ALPHA or FILE:PATTERN=ALPHA,… (perhaps with blend=NUMBER)"
        raise RwkvError("bad-setting", name="a LoRA", expected=expected, found=text[:80])
    alpha = {m[2] or "": float(m[1] or m[3]) for m in re.finditer(part, file[2])}
    return file[1], alpha, alpha.pop("blend", 1.0)


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
    merged = checkpoint.over(tensors, read)
    if "emb.weight" in changes:
        for key in NORMALIZED:
            merged.metadata.pop(key, None)
    return merged


def _changes(checkpoint: Checkpoint, lora: Lora) -> list[_Change]:
    file = lora.source.name
    patterns = _patterns(lora)
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
    targets = {name: _target(checkpoint, file, name) for name in [*factors, *whole] if not (st and name in NEVER)}
    if not targets:
        raise RwkvError("lora-mismatch", file=file, name="the file", expected="a LoRA", found="without tensors for this model")
    for pattern, _ in patterns:
        if not any(pattern.search(t.name) for t in targets.values()):
            expected = f"found in the name of a tensor that the file changes ({', '.join(t.name for t in targets.values())[:200]})"
            raise RwkvError("bad-setting", name=f"a pattern for {file}", expected=expected, found=pattern.pattern[:80])
    changes = []
    for name, target in targets.items():
        found = [alpha for pattern, alpha in patterns if pattern.search(target.name)]
        alpha, blend = found[-1] if found else 0.0, lora.blend
        parts = factors.get(name)
        change = (
            _factors(file, alpha, name, target, parts, numbers) if parts else _whole(file, alpha, blend, target, whole[name], numbers, st)
        )
        changes += [change] if found else []  # checked all the same
    return changes


def _patterns(lora: Lora) -> list[tuple[re.Pattern[str], float]]:
    """The alphas, and what they are for. RwkvError `bad-setting`."""
    file, table = lora.source.name, lora.alpha if isinstance(lora.alpha, Mapping) else {"": lora.alpha}
    for name, value in (*(("alpha", alpha) for alpha in table.values()), ("blend", lora.blend)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise RwkvError("bad-setting", name=f"{name} of {file}", expected="a finite number", found=str(value)[:40])
    patterns = []
    for pattern, alpha in table.items():
        try:
            patterns.append((re.compile(pattern), alpha))
        except re.error as e:
            found = f"{pattern[:80]} ({e})"
            raise RwkvError("bad-setting", name=f"a pattern for {file}", expected="a regular expression", found=found) from None
    return patterns


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
    file: str, alpha: float, base: str, target: TensorInfo, parts: Mapping[str, TensorInfo], numbers: Callable[[TensorInfo], F32]
) -> _Change:
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
    scale = alpha / rank

    def apply(w: F32, first: int) -> F32:
        left, right = numbers(b)[first : first + len(w)], numbers(a)
        out: F32 = w + np.float32(scale) * (left @ (right.T if turned else right))
        return out

    return _Change(target.name, apply)


def _whole(
    file: str, alpha: float, blend: float, target: TensorInfo, t: TensorInfo, numbers: Callable[[TensorInfo], F32], st: bool
) -> _Change:
    vector = sum(n > 1 for n in target.shape) < 2
    swapped = (*target.shape[:-2], *target.shape[:-3:-1])
    if prod(t.shape) != prod(target.shape) or not vector and t.shape not in (target.shape, swapped):
        raise RwkvError("lora-mismatch", file=file, name=t.name, expected=_text(target.shape), found=_text(t.shape))
    matrix = len(target.shape) == 2 and target.name.endswith(".weight")
    turned = not vector and t.shape != target.shape

    def apply(w: F32, first: int) -> F32:
        own = numbers(t)
        own = (own.swapaxes(-1, -2) if turned else own.reshape(target.shape))[first : first + len(w)] if target.shape else own
        if matrix:
            out: F32 = w + np.float32(alpha) * own if st else own
        else:
            out = own if blend == 1 else np.float32(blend) * own + np.float32(1 - blend) * w
        return out

    return _Change(target.name, apply)


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
