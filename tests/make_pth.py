"""Writes what `torch.save` writes, without torch: a zip of stored records and a hand-made pickle of protocol 2."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

STORAGE = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<u2": "BFloat16Storage", "<i8": "LongStorage"}  # <u2 holds the bits of bf16


@dataclass
class View:
    """A tensor as torch keeps it: `shape` and `stride` (in elements) over the flat storage `data`, from `offset` on."""

    data: np.ndarray
    shape: Sequence[int]
    stride: Sequence[int]
    offset: int = 0


def bf16(x: np.ndarray) -> np.ndarray:
    """The upper halves of f32 values (truncated), as u2."""
    return (np.ascontiguousarray(x, "<f4").view("<u4") >> 16).astype("<u2")


def text(s: str) -> bytes:
    raw = s.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(n: int) -> bytes:
    return b"J" + struct.pack("<i", n) if n < 1 << 31 else b"\x8a\x08" + struct.pack("<q", n)


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def name(full: str) -> bytes:
    module, _, attribute = full.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def tensor(key: str, dtype: str, numel: int, offset: int, shape: Sequence[int], stride: Sequence[int]) -> bytes:
    storage = b"(" + text("storage") + name(f"torch.{STORAGE[dtype]}") + text(key) + text("cpu") + number(numel) + b"tQ"
    hooks = name("collections.OrderedDict") + b")R"
    arguments = storage + number(offset) + numbers(shape) + numbers(stride) + b"\x89" + hooks
    return name("torch._utils._rebuild_tensor_v2") + b"(" + arguments + b"tR"


def table(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def archive(pickle: bytes, data: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED, byteorder: str = "little") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        z.writestr("archive/data.pkl", pickle)
        z.writestr("archive/byteorder", byteorder)
        for key, raw in (data or {}).items():
            z.writestr(f"archive/data/{key}", raw)
        z.writestr("archive/version", "3\n")
    return out.getvalue()


def save(tensors: Mapping[str, np.ndarray | View], wrapper: str | None = None) -> bytes:
    """A `.pth` with these tensors; Views that share an array share a storage; `wrapper` puts the table one level deeper."""
    storages: list[np.ndarray] = []
    items = {}
    for key, t in tensors.items():
        view = t if isinstance(t, View) else View(t.reshape(-1), t.shape, [s // t.itemsize for s in np.ascontiguousarray(t).strides])
        at = next((i for i, s in enumerate(storages) if s is view.data), len(storages))
        if at == len(storages):
            storages.append(view.data)
        items[key] = tensor(str(at), view.data.dtype.str, view.data.size, view.offset, view.shape, view.stride)
    state = table(items)
    top = table({wrapper: state, "step": number(7)}) if wrapper else state
    return archive(b"\x80\x02" + top + b".", {str(i): s.tobytes() for i, s in enumerate(storages)})
