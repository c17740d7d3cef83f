"""A pickle reader that can make tensors' descriptions and plain containers, and nothing else.

It is an interpreter of its own, not a subclass of `pickle.Unpickler`: that one allocates whatever length a damaged opcode claims, and what it
builds can overflow the C stack. Here opcodes outside the table are refused, globals outside the table are refused by name, and only the
functions below are called.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from py_rwkv.errors import RwkvError

STORAGES = {"Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32", "Short": "I16", "Char": "I8"}
STORAGES |= {"Byte": "U8", "Bool": "BOOL"}


@dataclass(frozen=True)
class Storage:
    """A run of `numel` numbers of one dtype in the archive's record data/`key`."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class TorchTensor:
    """A view of a storage; offset and strides count elements. Unchecked: the numbers are what the file says."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Malformed(Exception):
    """The pickle does not make sense; the text says why."""


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TorchTensor:
    naturals = all(isinstance(t, tuple) and all(type(n) is int and 0 <= n < 1 << 48 for n in t) for t in (shape, stride, (offset,)))
    if not isinstance(storage, Storage) or not naturals or len(shape) != len(stride) or len(shape) > 8:
        raise Malformed("a tensor is described wrongly")
    return TorchTensor(storage, offset, shape, stride)


def _parameter(data: Any, *_: Any) -> TorchTensor:
    if not isinstance(data, TorchTensor):
        raise Malformed("a parameter holds no tensor")
    return data


def _size(shape: Any) -> tuple[Any, ...]:
    if not isinstance(shape, tuple):
        raise Malformed("a shape is described wrongly")
    return shape


CALLABLE: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": lambda: {},  # filled afterwards, item by item
    "torch.Size": _size,
}


@dataclass(frozen=True)
class _Global:
    name: str


def load(data: bytes, source_name: str) -> Any:
    """The object in a pickle, with TorchTensor for tensors. RwkvError: `foreign-global` (named), `bad-pth`."""
    try:
        return _Machine(data, source_name).run()
    except (Malformed, IndexError, KeyError, struct.error, UnicodeDecodeError, TypeError) as e:
        reason = str(e) if isinstance(e, Malformed) else "its pickle is damaged"
        raise RwkvError("bad-pth", name=source_name, reason=reason) from None


class _Machine:
    def __init__(self, data: bytes, source_name: str) -> None:
        self.data, self.at, self.source_name = data, 0, source_name
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            op = self.take(1)
            if op == b".":
                return self.stack.pop()
            if op not in OPCODES:
                raise Malformed(f"its pickle uses the opcode {op!r}, which no checkpoint needs")
            OPCODES[op](self)

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise Malformed("its pickle ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.at) if b"\n" in self.data[self.at : self.at + 256] else -1
        if end < 0:
            raise Malformed("its pickle names something without end")
        return self.take(end + 1 - self.at)[:-1].decode("utf-8")

    def pop_mark(self) -> list[Any]:
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def pops(self, count: int) -> list[Any]:
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise Malformed("its pickle takes what it never made")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def find(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed("it names a global by something that is no text")
        full = f"{module}.{name}"
        storage = full.removeprefix("torch.").removesuffix("Storage")
        is_storage = full == f"torch.{storage}Storage" and storage.isalnum()
        if is_storage and storage not in STORAGES:
            raise Malformed(f"it holds numbers of the kind {storage[:40]}, which no model has")
        if not is_storage and full not in CALLABLE:
            raise RwkvError("foreign-global", name=self.source_name, found=full[:200])
        self.stack.append(_Global(full))

    def persistent(self) -> None:
        (pid,) = self.pops(1)
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], _Global):
            raise Malformed("it refers to something that is no storage")
        dtype = STORAGES.get(pid[1].name.removeprefix("torch.").removesuffix("Storage"))
        if dtype is None or not isinstance(pid[2], str) or type(pid[4]) is not int or not 0 <= pid[4] < 1 << 48:
            raise Malformed("a storage is described wrongly")
        self.stack.append(Storage(dtype, pid[2], pid[4]))

    def reduce(self) -> None:
        function, arguments = self.pops(2)
        if not isinstance(function, _Global) or function.name not in CALLABLE or not isinstance(arguments, tuple):
            raise Malformed("it calls something that cannot be called")
        self.stack.append(CALLABLE[function.name](*arguments))

    def build(self) -> None:
        """Attributes of an object: only OrderedDict's `_metadata` occurs, and nobody needs it."""
        self.pops(1)
        if not isinstance(self.stack[-1], dict):
            raise Malformed("it sets attributes of something that has none")

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise Malformed("it appends to something that is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        _set_items(self.stack[-1], items)

    def memoize(self, at: int) -> None:
        self.memo[at] = self.stack[-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)


def _set_items(table: Any, items: list[Any]) -> None:
    if not isinstance(table, dict) or len(items) % 2:
        raise Malformed("it fills something that is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int):  # also keeps deep tuples away from hash(), which recurses in C
            raise Malformed("a dictionary has keys that are neither text nor numbers")
        table[key] = value


OPCODES: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _protocol(m.number("<B")),
    b"\x95": lambda m: m.number("<Q"),  # FRAME: only a hint
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    b"G": lambda m: m.push(m.number(">d")),
    b"U": lambda m: m.push(m.take(m.number("<B")).decode("utf-8")),
    b"\x8c": lambda m: m.push(m.take(m.number("<B")).decode("utf-8")),
    b"X": lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b")": lambda m: m.push(()),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b"t": lambda m: m.push(tuple(m.pop_mark())),
    b"\x85": lambda m: m.push(tuple(m.pops(1))),
    b"\x86": lambda m: m.push(tuple(m.pops(2))),
    b"\x87": lambda m: m.push(tuple(m.pops(3))),
    b"a": lambda m: m.append(m.pops(1)),
    b"e": lambda m: m.append(m.pop_mark()),
    b"s": lambda m: m.set_items(m.pops(2)),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"q": lambda m: m.memoize(m.number("<B")),
    b"r": lambda m: m.memoize(m.number("<I")),
    b"\x94": lambda m: m.memoize(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.find(m.line(), m.line()),
    b"\x93": lambda m: m.find(*m.pops(2)),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
    b"Q": lambda m: m.persistent(),
}


def _protocol(version: int) -> None:
    if not 2 <= version <= 5:
        raise Malformed(f"it is written in pickle protocol {version}")
