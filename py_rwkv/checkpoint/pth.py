"""PyTorch's zip format (`.pth`): which tensors are in it and where their bytes lie. Reads only the directory and the pickle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

from py_rwkv.checkpoint.safetensors import ITEMSIZE, TensorInfo
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.checkpoint.unpickle import TorchTensor, load
from py_rwkv.checkpoint.zipindex import ZipEntry, data_offset, read_directory
from py_rwkv.errors import RwkvError

MAX_PICKLE = 4 << 20  # 1000 tensors take 0.2 MB
WRAPPERS = ("model", "state_dict", "module", "model_state_dict")  # training scripts put the weights under one of these keys


@dataclass(frozen=True)
class PthTensor(TensorInfo):
    """A strided view of the record `entry`: `offset` counts bytes from the start of that record's data, strides count elements."""

    stride: tuple[int, ...]
    entry: ZipEntry

    @property
    def contiguous(self) -> bool:
        return all(n == 1 or s == prod(self.shape[i + 1 :]) for i, (n, s) in enumerate(zip(self.shape, self.stride, strict=True)))

    @property
    def span(self) -> int:
        """Bytes from the first to the last element, both included."""
        last = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        return (last + 1) * ITEMSIZE[self.dtype] if prod(self.shape) else 0


def read_index(source: ByteSource) -> dict[str, PthTensor]:
    """The tensors of a `.pth` by name, in the file's order. RwkvError: `bad-pth`, `foreign-global`, `truncated-file`."""

    def bad(reason: str) -> NoReturn:
        raise RwkvError("bad-pth", name=source.name, reason=reason)

    entries = read_directory(source)
    root = next((e.name.removesuffix("data.pkl") for e in entries.values() if e.name == "data.pkl" or e.name.endswith("/data.pkl")), None)
    if root is None:
        bad("it is a zip file, but not one that PyTorch wrote (data.pkl is missing)")
    pickle = entries[root + "data.pkl"]
    if pickle.size > MAX_PICKLE:
        bad(f"its data.pkl is {pickle.size} bytes long")
    order = entries.get(root + "byteorder")
    if order and (order.size > 16 or source.read(data_offset(source, order), order.size) != b"little"):
        bad("its numbers are not little-endian")

    tensors = {}
    for name, t in _state_dict(load(source.read(data_offset(source, pickle), pickle.size), source.name), bad):
        entry, size = entries.get(f"{root}data/{t.storage.key}"), ITEMSIZE[t.storage.dtype]
        if entry is None:
            bad(f"the data of {name} is missing")
        if entry.size != t.storage.numel * size:
            bad(f"the data of {name} has {entry.size} bytes instead of {t.storage.numel * size}")
        info = PthTensor(name, t.storage.dtype, t.shape, t.offset * size, prod(t.shape) * size, t.stride, entry)
        if info.offset + info.span > entry.size or info.nbytes > entry.size:  # more numbers than the storage holds: stride 0
            bad(f"{name} reaches outside its data")
        tensors[name] = info
    return tensors


def _state_dict(top: Any, bad: Any) -> Iterator[tuple[str, TorchTensor]]:
    if not isinstance(top, dict):
        bad("it does not hold a table of tensors")
    for key in WRAPPERS:
        inner = top.get(key)
        if isinstance(inner, dict) and any(isinstance(v, TorchTensor) for v in inner.values()):
            top = inner
            break
    found = [(name, t) for name, t in top.items() if isinstance(name, str) and isinstance(t, TorchTensor)]
    if not found:
        bad("it holds no tensors")
    yield from found


def absolute(source: ByteSource, tensor: PthTensor) -> int:
    """The offset of the tensor's first element in the source."""
    return data_offset(source, tensor.entry) + tensor.offset
