"""GGUF (llama.cpp) files of the architectures `rwkv6` and `rwkv7` → tensors under official names. Reads only the header; every number in it is checked."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from py_rwkv.checkpoint.dialects import MIXES7, derive, renamed, reshaped, row, scaled, transposed
from py_rwkv.checkpoint.ggml import PLAIN, block_type, decode_rows
from py_rwkv.checkpoint.safetensors import ITEMSIZE, TensorInfo
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError

MAX_HEADER = 64 << 20
MAX_TENSORS = 1 << 16
KEPT = 1 << 16  # longer values are skipped: vocabularies
CHUNK = 1 << 20
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


class Malformed(Exception):
    """The header does not make sense; the text says why."""


class _Cursor:
    """Reads a header front to back."""

    def __init__(self, source: ByteSource) -> None:
        self.source, self.at, self._start, self._data = source, 0, 0, b""
        self.end = min(source.size, MAX_HEADER)

    def take(self, length: int) -> bytes:
        if length > self.end - self.at:
            raise Malformed(
                "its header ends too early" if self.end == self.source.size else f"its header is longer than {MAX_HEADER} bytes"
            )
        if not self._start <= self.at <= self.at + length <= self._start + len(self._data):
            self._start, self._data = self.at, self.source.read(self.at, min(max(CHUNK, length), self.end - self.at))
        self.at += length
        return self._data[self.at - length - self._start : self.at - self._start]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8")

    def value(self, kind: int, *, inside: bool = False) -> Any:
        """A metadata value; None for an array."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            length = self.number("<Q")
            return self.take(length).decode("utf-8", "replace")[:KEPT]
        if kind != ARRAY or inside:
            raise Malformed(f"a value in its header has the unknown type {kind}")
        item, count = self.number("<I"), self.number("<Q")
        if item in SCALARS:
            self.skip(count * struct.calcsize(SCALARS[item]))
        else:
            for _ in range(count):  # every item takes at least eight bytes, so this ends with the file
                self.value(item, inside=True)
        return None

    def skip(self, length: int) -> None:
        if length > self.end - self.at:
            raise Malformed("its header ends too early")
        self.at += length


class Header(NamedTuple):
    """`values` without arrays; `tensors`: name, shape (as numpy has it), ggml type, offset in the file."""

    values: dict[str, Any]
    tensors: list[tuple[str, tuple[int, ...], int, int]]


def read_header(source: ByteSource) -> Header:
    """RwkvError `bad-gguf`."""
    try:
        return _header(_Cursor(source))
    except (Malformed, struct.error, UnicodeDecodeError) as e:
        reason = str(e) if isinstance(e, Malformed) else "its header is damaged"
        raise RwkvError("bad-gguf", name=source.name, reason=reason) from None


def _header(c: _Cursor) -> Header:
    if c.take(4) != b"GGUF":
        raise Malformed("it does not begin with GGUF")
    version = c.number("<I")
    if version not in (2, 3):
        raise Malformed(f"it has version {version}; 2 and 3 are known (a big-endian file?)")
    tensor_count, value_count = c.number("<Q"), c.number("<Q")
    if tensor_count > MAX_TENSORS or value_count > MAX_TENSORS:
        raise Malformed(f"it claims to have {tensor_count} tensors and {value_count} values")
    values: dict[str, Any] = {}
    for _ in range(value_count):
        key = c.text()
        values[key] = c.value(c.number("<I"))
    align = values.get("general.alignment", 32)
    if type(align) is not int or not 0 < align <= 1 << 16:
        raise Malformed("its alignment is absurd")
    listed: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(tensor_count):
        name, dims = c.text(), c.number("<I")
        if dims > 4:
            raise Malformed(f"{name[:80]} has {dims} dimensions")
        shape = tuple(c.number("<Q") for _ in range(dims))[::-1]
        kind, offset = c.number("<I"), c.number("<Q")
        if any(not 0 < n < 1 << 32 for n in shape) or prod(shape) >= 1 << 48 or offset % align:
            raise Malformed(f"{name[:80]} is described wrongly")
        listed.append((name, shape, kind, offset))
    start = -(-c.at // align) * align
    return Header(values, [(name, shape, kind, start + offset) for name, shape, kind, offset in listed])


def read_index(source: ByteSource) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors under official names, quantized ones as F32 that are decoded when they are read, and the texts of the header.

    RwkvError: `bad-gguf`, `gguf-type`, `truncated-file`, `unsupported-architecture` for anything but rwkv6 and rwkv7.
    """
    values, listed = read_header(source)
    arch = values.get("general.architecture")
    if arch not in ("rwkv6", "rwkv7"):
        found = f"a GGUF file of the architecture {str(arch)[:40]}"
        raise RwkvError("unsupported-architecture", found=found, reason="only rwkv6 and rwkv7 run here.")
    tensors: dict[str, TensorInfo] = {}
    spans = []
    for name, shape, kind, offset in listed:
        if name in tensors:
            raise RwkvError("bad-gguf", name=source.name, reason=f"the tensor {name[:80]} occurs twice")
        tensors[name], nbytes = _tensor(source.name, name, shape, kind, offset)
        spans.append((offset, nbytes, name))
        if offset + nbytes > source.size:
            raise RwkvError("truncated-file", name=source.name, expected=offset + nbytes, found=source.size)
    for a, b in pairwise(sorted(spans)):
        if a[0] + a[1] > b[0]:
            raise RwkvError("bad-gguf", name=source.name, reason=f"the tensors {a[2][:80]} and {b[2][:80]} overlap")
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return official(arch, tensors, values, source.name), texts


def _tensor(file: str, name: str, shape: tuple[int, ...], kind: int, offset: int) -> tuple[TensorInfo, int]:
    if kind in PLAIN:
        nbytes = prod(shape) * ITEMSIZE[PLAIN[kind]]
        return TensorInfo(name, PLAIN[kind], shape, offset, nbytes), nbytes
    blocks = block_type(kind, file, name)
    columns = shape[-1] if shape else 1
    if columns % blocks.weights:
        raise RwkvError("bad-gguf", name=file, reason=f"{name[:80]} is {blocks.name} but has rows of {columns}")
    stored = (*shape[:-1], columns // blocks.weights * blocks.nbytes)
    raw = TensorInfo(name, "U8", stored, offset, prod(stored))
    return derive(raw, name, shape, lambda b: decode_rows(blocks, b), by_row=len(shape) > 1, dtype="F32"), prod(stored)


TOP = {"token_embd": "emb", "token_embd_norm": "blocks.0.ln0", "output_norm": "ln_out", "output": "head"}
NORMS = {"attn_norm": "ln1", "attn_norm_2": "ln2", "time_mix_ln": "att.ln_x"}
V6 = {"lerp_x": "time_maa_x", "w1": "time_maa_w1", "w2": "time_maa_w2", "first": "time_faaaa"}
V6 |= {"decay": "time_decay", "decay_w1": "time_decay_w1", "decay_w2": "time_decay_w2"} | {f"lerp_{c}": f"time_maa_{c}" for c in "wkvrg"}
MIXES6 = "wkvrg"
NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def official(arch: str, tensors: dict[str, TensorInfo], values: dict[str, Any], file: str) -> dict[str, TensorInfo]:
    """llama.cpp's names and layouts undone: factors are stored transposed, the mixes fused, V7's r_k flat, V6's output and value halved every few layers."""
    table: dict[str, TensorInfo] = {}
    every = values.get("rwkv6.rescale_every_n_layers", 0)
    head_size = values.get(f"{arch}.wkv.head_size", 64)
    if type(every) is not int or not 0 <= every < 1 << 16 or type(head_size) is not int or not 0 < head_size < 1 << 16:
        raise RwkvError("bad-gguf", name=file, reason="its sizes make no sense")
    for long, t in tensors.items():
        base, _, part = long.rpartition(".")
        m = NAME.fullmatch(long)
        if not m:
            name = f"{TOP[base]}.{part}" if base in TOP else long
            table[name] = renamed(t, name)
            continue
        layer, leaf = int(m[1]), m[2]
        block = f"blocks.{layer}."
        if leaf in NORMS:
            name = f"{block}{NORMS[leaf]}.{part}"
            table[name] = renamed(t, name)
        elif leaf == "time_mix_lerp_fused":
            mixes, prefix = (MIXES6, "time_maa_") if arch == "rwkv6" else (MIXES7, "x_")
            if t.shape[:1] != (len(mixes),):
                raise RwkvError("wrong-shape", name=long, expected=f"{len(mixes)} × width", found=" × ".join(map(str, t.shape)))
            table |= {(to := f"{block}att.{prefix}{c}"): row(t, to, i, (1, 1, prod(t.shape[1:]))) for i, c in enumerate(mixes)}
        else:
            room = "ffn." if leaf.startswith("channel_mix_") else "att."
            low = leaf.removeprefix("channel_mix_").removeprefix("time_mix_")
            if arch == "rwkv7" and layer == 0 and room == "att." and re.fullmatch(r"v[012]", low):
                continue  # copies of a0, a1, a2, there to make llama.cpp happy
            name = block + room + _leaf(arch, room, low)
            table[name] = _undone(t, name, layer, every, head_size)
    return table


def _leaf(arch: str, room: str, low: str) -> str:
    if low in ("key", "value", "receptance", "gate", "output"):
        return f"{low}.weight"
    if room == "ffn.":
        return low.replace("lerp_", "time_maa_" if arch == "rwkv6" else "x_")
    return V6.get(low, low) if arch == "rwkv6" else low


def _undone(t: TensorInfo, name: str, layer: int, every: int, head_size: int) -> TensorInfo:
    if re.search(r"(time_maa_|time_decay_|\.)[wavg][12]$", name) and len(t.shape) >= 2:
        return transposed(t, name)
    if name.endswith(".r_k") and t.shape and t.shape[-1] == prod(t.shape) and prod(t.shape) % head_size == 0:
        return reshaped(t, name, (prod(t.shape) // head_size, head_size))
    if every and layer >= every and name.endswith(("att.output.weight", "ffn.value.weight")):
        return scaled(t, name, 2.0 ** (layer // every))
    return renamed(t, name)
