"""Dialects: the other names and layouts in which RWKV weights travel → official names and shapes. Nothing is read here, only described.

A dialect maps the table of a file's tensors to a table under official names, in which a tensor is the file's own (renamed) or `Derived` from one
of them. Everything above sees official names only. Known: web-rwkv's `.st`, and the Hugging Face layouts: transformers `rwkv` (V4), the community's
`rwkv5` and `rwkv6`, and `rwkv7` of flash-linear-attention. GGUF has its own module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from py_rwkv.checkpoint.safetensors import ITEMSIZE, TensorInfo
from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

RAW = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U8": "u1"}  # what `Derived.make` is given; the bits for BF16
Tensors = Mapping[str, TensorInfo]
Reader = Callable[[TensorInfo, int, int], bytes]  # (tensor, first row, rows) -> contiguous bytes


@dataclass(frozen=True)
class Derived(TensorInfo):
    """A tensor made from `base` when it is read: `make` turns base's numbers into this one's, all of them, or `by_row` any number of rows."""

    base: TensorInfo
    make: Callable[[Array], Array]
    by_row: bool = False


def derive(
    base: TensorInfo, name: str, shape: tuple[int, ...], make: Callable[[Array], Array], *, by_row: bool = False, dtype: str = ""
) -> Derived:
    dtype = dtype or base.dtype
    return Derived(name, dtype, shape, 0, prod(shape) * ITEMSIZE[dtype], base, make, by_row)


def renamed(t: TensorInfo, name: str) -> TensorInfo:
    return replace(t, name=name)


def transposed(t: TensorInfo, name: str) -> TensorInfo:
    """The last two dimensions exchanged."""
    return derive(t, name, (*t.shape[:-2], t.shape[-1], t.shape[-2]), lambda a: a.swapaxes(-1, -2))


def reshaped(t: TensorInfo, name: str, shape: tuple[int, ...]) -> TensorInfo:
    return derive(t, name, shape, lambda a: a)


def row(t: TensorInfo, name: str, index: int, shape: tuple[int, ...]) -> TensorInfo:
    """Entry `index` of the first dimension."""
    return derive(t, name, shape, lambda a: a[index])


def scaled(t: TensorInfo, name: str, factor: float) -> TensorInfo:
    """Times a power of two, in the tensor's own precision."""

    def make(a: Array) -> Array:
        with np.errstate(over="ignore"):
            if t.dtype != "BF16":
                return np.multiply(a, factor, dtype=a.dtype)
            wide = (a.astype(np.uint32) << 16).view(np.float32) * np.float32(factor)
            return (wide.view(np.uint32) >> 16).astype(np.uint16)

    return derive(t, name, t.shape, make, by_row=True)


def stored_dtype(t: TensorInfo) -> str:
    """The dtype in the file, whatever is made of it: `U8` for quantized blocks."""
    while isinstance(t, Derived):
        t = t.base
    return t.dtype


def reading(reader: Reader) -> Reader:
    """`reader`, which knows the file's tensors, extended to derived ones."""
    kept: tuple[TensorInfo | None, bytes] = None, b""  # the last one that had to be made whole: its rows are asked for in turn

    def read(t: TensorInfo, first: int, rows: int) -> bytes:
        nonlocal kept
        if not isinstance(t, Derived):
            return reader(t, first, rows)
        start, count = (first, rows) if t.by_row else (0, t.base.shape[0] if t.base.shape else 1)
        if t.by_row or kept[0] is not t:
            raw = np.frombuffer(read(t.base, start, count), RAW[t.base.dtype])
            data = t.make(raw.reshape(-1, *t.base.shape[1:]) if t.base.shape else raw.reshape(())).tobytes()
            if t.by_row:
                return data
            kept = t, data
        size = t.nbytes // max(1, t.shape[0]) if t.shape else t.nbytes
        return kept[1][first * size : (first + rows) * size]

    return read


def translate(tensors: Tensors) -> tuple[str, dict[str, TensorInfo]]:
    """(the name of the dialect, the tensors under official names). What is in no dialect stays as it is, for `detect` to name."""
    if "emb.weight" not in tensors and any(name.removeprefix("rwkv.") == "embeddings.weight" for name in tensors):
        return "hugging-face", hugging_face(tensors)
    return web_rwkv(tensors)


# ---- web-rwkv's .st: some tensors renamed, low-rank factors transposed --------------------------------------------------------------------

FACTOR = re.compile(r"\.att\.(?:(?:time_maa_|time_decay_)?w|[avg])([12])$")


def web_rwkv_name(name: str, names: Mapping[str, object]) -> str:
    """The official name of a tensor of a file with these `names`; of one that is not web-rwkv's, its own.

    In V6 `time_maa` became `time_mix` (without 1 − x); in V5.1 and later `time_faaaa` became `time_first`.
    """
    block, _, last = name.rpartition(".")
    layer = block.rpartition(".")[0]
    v6 = f"{layer}.att.time_mix_x" in names or f"{layer}.att.time_mix_w1" in names or f"{layer}.att.time_maa_x" in names
    if v6 and last.startswith("time_mix_"):
        return f"{block}.time_maa_{last.removeprefix('time_mix_')}"
    if last == "time_first" and (v6 or f"{layer}.att.gate.weight" in names):
        return f"{block}.time_faaaa"
    return name


def web_rwkv(tensors: Tensors) -> tuple[str, dict[str, TensorInfo]]:
    """Whether factors are transposed is told by their shapes: [C, rank] and [rank, C] officially. With rank = C everywhere, they are taken as official."""
    new = {(short := web_rwkv_name(name, tensors)): renamed(t, short) if short != name else t for name, t in tensors.items()}
    if len(new) != len(tensors):  # both spellings: no dialect makes that
        return "official", dict(tensors)
    width = tensors["emb.weight"].shape[-1] if "emb.weight" in tensors and tensors["emb.weight"].shape else 0
    factors = {name: m[1] for name in new if (m := FACTOR.search(name)) and len(new[name].shape) >= 2}
    official = st = 0
    for name, part in factors.items():
        inputs, outputs = new[name].shape[-2:]
        here, there = (inputs == width, outputs == width) if part == "1" else (outputs == width, inputs == width)
        official, st = official + (here and not there), st + (there and not here)
    if st and not official:
        new |= {name: transposed(new[name], name) for name in factors}
    elif not any(name not in tensors for name in new):
        return "official", dict(tensors)
    states = [name for name in new if name.endswith(".att.time_state") and len(new[name].shape) == 3]
    return "web-rwkv", new | {name: transposed(new[name], name) for name in states}


# ---- Hugging Face ------------------------------------------------------------------------------------------------------------------------

TOP = {"embeddings.weight": "emb.weight", "lm_head.weight": "head.weight"}
TOP |= {f"{a}.{part}": f"{b}.{part}" for a, b in (("norm", "ln_out"), ("pre_ln", "blocks.0.ln0")) for part in ("weight", "bias")}
NORMS = {"pre_ln": "ln0", "pre_norm": "ln0", "attn_norm": "ln1", "ffn_norm": "ln2"}
ROOMS = {"attention": "att", "attn": "att", "feed_forward": "ffn"}
LEAVES = {"r_proj": "receptance", "k_proj": "key", "v_proj": "value", "o_proj": "output", "g_norm": "ln_x"}
LEAVES |= {f"time_mix_{name}": f"time_mix_{name[0]}" for name in ("key", "value", "receptance", "gate")}
BLOCK = re.compile(r"(?:blocks|layers)\.(\d+)\.(\w+)\.(.+)")
LORA = re.compile(r"([wavg])_lora\.lora\.(0\.weight|2\.weight|2\.bias)")
MIXES7 = "rwkvag"  # the order in x_x of old rwkv7 files, and in GGUF


def hugging_face(tensors: Tensors) -> dict[str, TensorInfo]:
    table: dict[str, TensorInfo] = {}
    for long, t in tensors.items():
        name = long.removeprefix("rwkv.")
        if not (m := BLOCK.fullmatch(name)):
            name = TOP.get(name, name)
        elif m[2] in NORMS:
            name = f"blocks.{m[1]}.{NORMS[m[2]]}.{m[3]}"
        elif m[2] not in ROOMS:
            name = f"blocks.{m[1]}.{m[2]}.{m[3]}"
        else:
            block, leaf = f"blocks.{m[1]}.{ROOMS[m[2]]}.", m[3].removeprefix("time_mixer.")
            if leaf == "x_x" and t.shape and t.shape[0] == len(MIXES7):
                table |= {(to := f"{block}x_{c}"): row(t, to, i, (1, 1, prod(t.shape[1:]))) for i, c in enumerate(MIXES7)}
                continue
            if low := LORA.fullmatch(leaf):
                name = f"{block}{low[1]}{ {'0.weight': 1, '2.weight': 2, '2.bias': 0}[low[2]] }"
                if low[2] != "2.bias" and len(t.shape) == 2:
                    table[name] = transposed(t, name)
                    continue
            else:
                first, dot, rest = leaf.partition(".")
                name = block + LEAVES.get(first, first) + dot + rest
        table[name] = renamed(t, name)
    return table
