"""The safetensors format, in and out: the length of the header, a JSON header, raw tensors without gaps. Headers are checked, not believed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError

MAX_HEADER = 16 << 20
ALIGN = 16  # tensor data starts at a multiple of this in what we write
ITEMSIZE = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
ITEMSIZE |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: dtype in safetensors' spelling, `nbytes` of contiguous data that start at byte `offset` of the source."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Piece:
    """A tensor to be written; `data` is its little-endian bytes (any buffer of bytes)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


def read_header(source: ByteSource) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors (in file order) and the metadata. RwkvError: `truncated-file`, `lfs-pointer`, `bad-safetensors`."""

    def bad(reason: str) -> NoReturn:
        raise RwkvError("bad-safetensors", name=source.name, reason=reason)

    start = source.read(0, min(source.size, 64))
    if start.startswith(b"version https://git-lfs"):
        raise RwkvError("lfs-pointer", name=source.name)
    if len(start) < 8:
        raise RwkvError("truncated-file", name=source.name, expected=8, found=source.size)
    length = int.from_bytes(start[:8], "little")
    if not 2 <= length <= MAX_HEADER:
        bad(f"its header claims to be {length} bytes long")
    if 8 + length > source.size:
        raise RwkvError("truncated-file", name=source.name, expected=8 + length, found=source.size)
    try:
        header = json.loads(source.read(8, length).decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as e:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        bad(f"its header is not valid JSON ({e})")
    if not isinstance(header, dict):
        bad("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        bad("its metadata is not a table of strings")

    tensors = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            bad(f"the entry of {name} does not have exactly dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in ITEMSIZE:
            bad(f"{name} has the unknown dtype {str(dtype)[:40]}")
        if not _naturals(shape) or len(shape) > 8:
            bad(f"{name} has a bad shape")
        if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            bad(f"{name} has bad data offsets")
        begin, end = offsets
        if end - begin != prod(shape) * ITEMSIZE[dtype]:
            bad(f"{name} is {dtype} {shape} but has {end - begin} bytes")
        tensors.append(TensorInfo(name, dtype, tuple(shape), 8 + length + begin, end - begin))

    tensors.sort(key=lambda t: (t.offset, t.nbytes))
    at = 8 + length
    for t in tensors:
        if t.offset != at:
            bad(f"{t.name} {'overlaps the tensor before it' if t.offset < at else 'leaves a gap before it'}")
        at += t.nbytes
    if at > source.size:
        raise RwkvError("truncated-file", name=source.name, expected=at, found=source.size)
    if at < source.size:
        bad(f"{source.size - at} bytes follow the last tensor")
    return {t.name: t for t in tensors}, metadata


def header(pieces: Iterable[Piece], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes in front of the data of `pieces`, padded with spaces so that the data starts aligned."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for p in pieces:
        if p.name in entries or len(p.data) != prod(p.shape) * ITEMSIZE[p.dtype]:
            raise RwkvError("internal", reason=f"tensor {p.name} {p.dtype} {p.shape} with {len(p.data)} bytes cannot be written")
        entries[p.name] = {"dtype": p.dtype, "shape": list(p.shape), "data_offsets": [at, at + len(p.data)]}
        at += len(p.data)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGN)
    return len(text).to_bytes(8, "little") + text


def encode(pieces: Iterable[Piece], metadata: Mapping[str, str] | None = None) -> bytes:
    """A whole safetensors file in memory, tensors in the given order."""
    pieces = list(pieces)
    return b"".join([header(pieces, metadata), *(p.data for p in pieces)])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
