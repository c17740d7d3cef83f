"""A checkpoint: tensors by official name, read lazily and in rows, whatever file they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from py_rwkv.checkpoint import gguf, pth, safetensors
from py_rwkv.checkpoint.dialects import Reader, reading, translate
from py_rwkv.checkpoint.names import normalise
from py_rwkv.checkpoint.safetensors import ITEMSIZE, TensorInfo
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32


class Checkpoint:
    """`tensors` under official names and in official shapes, whatever the file's `dialect`; `metadata` is safetensors' `__metadata__`; `name` and `size` in
    bytes are the file's; `group_norm_eps` is None unless something beside the weights tells it."""

    def __init__(self, name: str, tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str], reader: Reader, size: int = 0) -> None:
        self.name, self.metadata, self.size, self._reader = name, dict(metadata), size, reading(reader)
        self.group_norm_eps: float | None = _eps(metadata)
        self.on_read: Callable[[str, int], None] | None = None  # told (tensor, bytes) after every read
        self.dialect, self.tensors = translate({short: tensors[long] for short, long in normalise(tensors).items()})

    def over(self, tensors: Mapping[str, TensorInfo], reader: Reader) -> Checkpoint:
        """A checkpoint like this one whose tensors are these, under official names already, and all read by `reader`."""
        new = Checkpoint(self.name, {}, self.metadata, reader, self.size)
        new.tensors, new._reader, new.dialect, new.group_norm_eps = dict(tensors), reader, self.dialect, self.group_norm_eps
        return new

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: t.shape for name, t in self.tensors.items()}

    def read(self, name: str, first: int = 0, rows: int | None = None) -> bytes:
        """Rows first … first + rows (all of them by default) as contiguous little-endian bytes in the file's dtype."""
        t = self.tensors[name]
        total = t.shape[0] if t.shape else 1
        rows = total - first if rows is None else rows
        if not 0 <= first <= first + rows <= total:
            raise RwkvError("internal", reason=f"rows {first}+{rows} of {name} {t.shape} were asked for")
        data = self._reader(t, first, rows)
        if self.on_read:
            self.on_read(name, len(data))
        return data

    def f32(self, name: str, first: int = 0, rows: int | None = None) -> F32:
        """The same rows as numbers, f32 [rows, …]. RwkvError `unsupported-dtype` unless the tensor is F32, F16 or BF16."""
        t, data = self.tensors[name], self.read(name, first, rows)
        numbers = to_f32(name, t.dtype, data)
        return numbers.reshape(-1, *t.shape[1:]) if t.nbytes else numbers.reshape(t.shape)


def to_f32(name: str, dtype: str, data: bytes) -> F32:
    """The numbers in `data`, flat."""
    if dtype == "F32":
        return np.frombuffer(data, "<f4").astype(np.float32, copy=False)
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    if dtype == "BF16":  # the upper half of an f32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    raise RwkvError("unsupported-dtype", name=name, found=dtype)


def _eps(metadata: Mapping[str, str]) -> float | None:
    """`group_norm_eps` as our own exports have it; a config checks its range."""
    try:
        return float(metadata["group_norm_eps"])
    except (KeyError, TypeError, ValueError):
        return None


class Table(NamedTuple):
    """What a file holds, under the file's names."""

    tensors: Mapping[str, TensorInfo]
    metadata: dict[str, str]
    reader: Reader


def open_checkpoint(source: ByteSource) -> Checkpoint:
    """Look at the first bytes and open what it is. RwkvError: `unsupported-file` (named), `lfs-pointer`, and the formats' own."""
    return Checkpoint(source.name, *read_table(source), source.size)


def read_table(source: ByteSource) -> Table:
    """The tensors of a `.pth`, `.safetensors` or GGUF file."""
    start = source.read(0, min(source.size, 64))
    if start.startswith(b"PK\x03\x04"):
        return Table(pth.read_index(source), {}, _pth_reader(source))
    if start.startswith(b"GGUF"):
        return Table(*gguf.read_index(source), _plain_reader(source))
    if start.startswith(b"version https://git-lfs"):
        raise RwkvError("lfs-pointer", name=source.name)
    found = _describe(start)
    length = start[:8]  # of the safetensors header that begins with the ninth byte: no text looks like that
    if (start[8:9] == b"{" and (b"\0" in length or not length.isascii())) or (not found and source.name.endswith((".safetensors", ".st"))):
        tensors, metadata = safetensors.read_header(source)
        return Table(tensors, metadata, _plain_reader(source))
    raise RwkvError("unsupported-file", name=source.name, found=found or f"a file that starts with {start[:8].hex(' ')}")


def _describe(start: bytes) -> str:
    """What these first bytes belong to, empty if unknown."""
    text = start.lstrip().lower()
    for magic, what in (
        (b"fmgg", "an rwkv.cpp (ggml) file"),
        (b"\x80\x02\x8a\nl\xfc\x9cf\xf9 j\xa8p\x19", "a .pth in PyTorch's format from before version 1.6 (save it again)"),
        (b"\x80", "a bare pickle file"),
        (b"<!doctype", "a web page instead of a file"),
        (b"<html", "a web page instead of a file"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"{", "a JSON file"),
        (b"\x93numpy", "a numpy array file"),
    ):
        if text.startswith(magic):
            return what
    return "" if start else "an empty file"


def _plain_reader(source: ByteSource) -> Reader:
    def read(t: TensorInfo, first: int, rows: int) -> bytes:
        row = t.nbytes // max(1, t.shape[0]) if t.shape else t.nbytes
        return source.read(t.offset + first * row, rows * row)

    return read


def _pth_reader(source: ByteSource) -> Reader:
    gathered: tuple[str, bytes] = "", b""  # the last tensor that had to be gathered whole: its rows are asked for in turn

    def read(t: TensorInfo, first: int, rows: int) -> bytes:
        nonlocal gathered
        assert isinstance(t, pth.PthTensor)
        row = prod(t.shape[1:]) * ITEMSIZE[t.dtype]
        if t.contiguous:
            return source.read(pth.absolute(source, t) + first * row, rows * row)
        if gathered[0] != t.name:
            flat = np.frombuffer(source.read(pth.absolute(source, t), t.span), f"V{ITEMSIZE[t.dtype]}")
            view = np.lib.stride_tricks.as_strided(flat, t.shape, tuple(s * flat.itemsize for s in t.stride), writeable=False)
            gathered = t.name, view.tobytes()
        return gathered[1][first * row : (first + rows) * row]

    return read
