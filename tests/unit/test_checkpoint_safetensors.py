"""The safetensors reader and writer, and the sniffing of everything that is neither."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_rwkv.checkpoint.checkpoint import open_checkpoint
from py_rwkv.checkpoint.safetensors import ALIGN, Piece, encode, read_header
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError

X = np.arange(6, dtype="<f4").reshape(2, 3)
FILE = encode([Piece("x", "F32", (2, 3), X.tobytes()), Piece("y", "U8", (3,), b"abc")], {"who": "me"})


def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def refused(data: bytes, file_name: str = "m.safetensors") -> RwkvError:
    with pytest.raises(RwkvError) as e:
        open_checkpoint(BytesSource(file_name, data))
    return e.value


def entry(begin: int = 0, end: int = 4, dtype: str = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_round_trip() -> None:
    tensors, metadata = read_header(BytesSource("m", FILE))
    assert metadata == {"who": "me"} and [(t.name, t.dtype, t.shape, t.nbytes) for t in tensors.values()] == [
        ("x", "F32", (2, 3), 24),
        ("y", "U8", (3,), 3),
    ]
    assert tensors["x"].offset % ALIGN == 0
    c = open_checkpoint(BytesSource("m", FILE))
    assert (
        np.array_equal(c.f32("x"), X)
        and np.array_equal(c.f32("x", 1, 1), X[1:])
        and c.read("y", 1) == b"bc"
        and c.metadata == {"who": "me"}
    )


def test_a_header_of_123_bytes_is_not_taken_for_json() -> None:
    header = json.dumps({"x": entry()}).encode()
    assert open_checkpoint(BytesSource("m", file(header + b" " * (ord("{") - len(header)), bytes(4)))).shapes == {"x": (1,)}


LIES = {
    "absurd length": file(b"{}", length=1 << 62),
    "longer than allowed": file(b"{}", length=(16 << 20) + 1),
    "not JSON": file(b"{nonsense}"),
    "not UTF-8": file(b'{"\xff":1}'),
    "nested without end": file(b'{"a":' + b"[" * 100_000),
    "no object": file(b"[1, 2]"),
    "metadata of numbers": file({"__metadata__": {"a": 1}}),
    "no entry": file({"x": 1}),
    "missing field": file({"x": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "unknown field": file({"x": {**entry(), "more": 1}}, bytes(4)),
    "unknown dtype": file({"x": entry(dtype="F33")}, bytes(4)),
    "dtype of another type": file({"x": entry(dtype=[1])}, bytes(4)),  # type: ignore[arg-type]
    "negative shape": file({"x": entry(shape=[-1])}, bytes(4)),
    "fractional shape": file({"x": entry(shape=[1.0])}, bytes(4)),
    "true as a size": file({"x": entry(shape=[True])}, bytes(4)),
    "wrong size": file({"x": entry(shape=[2])}, bytes(4)),
    "wrong width": file({"x": entry(dtype="F16")}, bytes(4)),
    "offsets backwards": file({"x": entry(4, 0)}, bytes(4)),
    "overlap": file({"x": entry(), "y": entry()}, bytes(4)),
    "half an overlap": file({"x": entry(), "y": entry(2, 6)}, bytes(6)),
    "hole": file({"x": entry(), "y": entry(8, 12)}, bytes(12)),
    "starts late": file({"x": entry(4, 8)}, bytes(8)),
    "more data than tensors": file({"x": entry()}, bytes(8)),
    "duplicate key": file(
        b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"a"
    ),
    "product overflow": file({"x": entry(shape=[1 << 33, 1 << 33])}, bytes(4)),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES.keys())
def test_headers_that_lie(data: bytes) -> None:
    assert refused(data).code in ("bad-safetensors", "truncated-file")
    if len(data) < 1000 and data[8:9] == b"{":
        assert refused(data, "unnamed").code in ("bad-safetensors", "truncated-file")


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 50, len(FILE) - 1])
def test_truncated(cut: int) -> None:
    error = refused(FILE[:cut])
    assert error.code == "truncated-file" and error.details["found"] == cut


def test_out_of_range_is_a_truncated_file() -> None:
    assert refused(file({"x": entry(0, 4000, shape=[1000])}, bytes(4))).code == "truncated-file"


SNIFFED = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n": ("lfs-pointer", "m.pth"),
    b"GGUF\x03\x00\x00\x00": ("bad-gguf", "ends too early"),
    b"fmgg\x65\x00\x00\x00": ("unsupported-file", "rwkv.cpp"),
    b"\n<!DOCTYPE html><html>": ("unsupported-file", "web page"),
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": ("unsupported-file", "before version 1.6"),
    b"\x80\x04\x95": ("unsupported-file", "pickle"),
    b'{"weight_map": {}}': ("unsupported-file", "JSON"),
    b"": ("unsupported-file", "empty"),
    b"abcdefghijkl": ("unsupported-file", "61 62 63"),
    b"PK\x05\x06" + bytes(18): ("unsupported-file", "50 4b 05 06"),
    b"PK\x03\x04" + bytes(40): ("bad-pth", "m.pth"),
}


@pytest.mark.parametrize(("data", "expected"), SNIFFED.items(), ids=[e[1] + e[0] for e in SNIFFED.values()])
def test_other_files_are_named(data: bytes, expected: tuple[str, str]) -> None:
    error = refused(data, "m.pth")
    assert error.code == expected[0] and expected[1] in str(error)


def read_all(data: bytes) -> None:
    try:
        c = open_checkpoint(BytesSource("m.safetensors", data))
        for n in c.tensors:
            c.read(n)
    except RwkvError:
        pass


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_files(changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILE)
    for at, value in changes:
        data[at] = value
    read_all(bytes(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "U8"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x", "__metadata__"]), inner, max_size=4)
    ),
)


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), json_values, max_size=3) | json_values, st.binary(max_size=20))
def test_random_headers(header: object, data: bytes) -> None:
    read_all(file(header, data))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read_all(data)


tensor_lists = st.lists(st.tuples(st.text(max_size=8), st.lists(st.integers(0, 5), max_size=3)), max_size=6, unique_by=lambda t: t[0])


@settings(max_examples=100)
@given(tensor_lists)
def test_what_is_written_is_read(tensors: list[tuple[str, list[int]]]) -> None:
    pieces = [Piece(n, "I16", tuple(s), bytes(2 * int(np.prod(s)))) for n, s in tensors if n != "__metadata__"]
    found, _ = read_header(BytesSource("m", encode(pieces)))
    assert {n: t.shape for n, t in found.items()} == {p.name: p.shape for p in pieces}
