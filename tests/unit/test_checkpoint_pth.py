"""The `.pth` reader: everything torch writes is read as torch would, everything else is refused with a code."""

from __future__ import annotations

import struct
import zipfile

import make_pth
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_pth import View, archive, bf16, name, number, numbers, save, table, tensor, text

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError

X = np.arange(24, dtype="<f4").reshape(4, 6) - 7.5
Y = np.linspace(-2, 2, 10, dtype="<f2")
FILE = save({"x": X, "y": Y, "scalar": np.array(3, "<i8")}, wrapper="model")


def opened(data: bytes) -> Checkpoint:
    return open_checkpoint(BytesSource("m.pth", data))


def refused(data: bytes) -> RwkvError:
    with pytest.raises(RwkvError) as e:
        opened(data)
    return e.value


def with_pickle(body: bytes, data: dict[str, bytes] | None = None) -> bytes:
    return archive(b"\x80\x02" + body + b".", data)


def test_tensors_of_every_float_format() -> None:
    c = opened(save({"f32": X, "f16": Y, "bf16": bf16(X), "i64": np.array([1, 2], "<i8")}))
    assert {n: (t.dtype, t.shape) for n, t in c.tensors.items()} == {
        "f32": ("F32", (4, 6)),
        "f16": ("F16", (10,)),
        "bf16": ("BF16", (4, 6)),
        "i64": ("I64", (2,)),
    }
    assert np.array_equal(c.f32("f32"), X) and np.array_equal(c.f32("bf16"), X) and np.array_equal(c.f32("f16"), Y.astype("f4"))
    assert c.read("f32") == X.tobytes() and c.read("f32", 1, 2) == X[1:3].tobytes()
    with pytest.raises(RwkvError) as e:
        c.f32("i64")
    assert e.value.code == "unsupported-dtype" and e.value.details == {"name": "i64", "found": "I64"}


def test_views_of_a_shared_storage() -> None:
    flat = np.arange(100, dtype="<f4")
    c = opened(
        save(
            {
                "part": View(flat, (3, 4), (4, 1), 10),
                "transposed": View(flat, (4, 3), (1, 4), 10),
                "every third row": View(flat, (3, 2), (30, 1), 1),
                "one": View(flat, (1, 5), (77, 1), 95),
                "empty": View(flat, (0, 5), (5, 1), 100),
            }
        )
    )
    part = flat[10:22].reshape(3, 4)
    assert np.array_equal(c.f32("part"), part)
    assert np.array_equal(c.f32("transposed"), part.T) and np.array_equal(c.f32("transposed", 1, 2), part.T[1:3])
    assert np.array_equal(c.f32("every third row"), flat[[1, 2, 31, 32, 61, 62]].reshape(3, 2))
    assert np.array_equal(c.f32("one"), flat[None, 95:]) and c.f32("empty").shape == (0, 5)


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_wrapped_state_dicts_and_prefixes(wrapper: str) -> None:
    c = opened(save({"_orig_mod.model.emb.weight": X, "module.y": Y}, wrapper))
    assert set(c.tensors) == {"emb.weight", "y"}
    assert np.array_equal(c.f32("emb.weight"), X)


def test_two_names_that_become_one_are_refused() -> None:
    assert refused(save({"a": X, "model.a": X})).code == "duplicate-tensor"


def test_parameters_and_ordered_dicts() -> None:
    inner = tensor("0", "<f4", 24, 0, (4, 6), (6, 1))
    parameter = name("torch._utils._rebuild_parameter") + b"(" + inner + b"\x88" + name("collections.OrderedDict") + b")RtR"
    ordered = name("collections.OrderedDict") + b")R(" + text("x") + parameter + b"u" + table({"_metadata": b"}"}) + b"b"
    assert np.array_equal(opened(with_pickle(ordered, {"0": X.tobytes()})).f32("x"), X)


@pytest.mark.parametrize("foreign", ["os.system", "builtins.eval", "argparse.Namespace", "torch.nn.Linear", "collections.OrderedDict.x"])
@pytest.mark.parametrize("call", [b"(" + text("true") + b"tR", b""])
def test_foreign_globals_are_refused_by_name(foreign: str, call: bytes) -> None:
    error = refused(with_pickle(table({"x": name(foreign) + call})))
    assert error.code == "foreign-global" and error.details["found"] == foreign and foreign in str(error)


def test_a_global_by_stack_is_refused_too() -> None:
    assert refused(with_pickle(text("os") + text("system") + b"\x93")).details["found"] == "os.system"


GOOD = {"numel": 24, "offset": 0, "shape": (4, 6), "stride": (6, 1)}


@pytest.mark.parametrize(
    "lie",
    [
        {"numel": 25},
        {"offset": 1},
        {"shape": (5, 6)},
        {"stride": (7, 1)},
        {"stride": (6,)},
        {"shape": (-4, 6)},
        {"shape": (1 << 40, 6), "stride": (0, 0)},
        {"shape": (10**6, 10**6), "stride": (0, 0)},
        {"shape": (1,) * 9, "stride": (1,) * 9},
    ],
)
def test_tensors_that_lie_about_their_size(lie: dict[str, object]) -> None:
    assert refused(with_pickle(table({"x": tensor("0", "<f4", **{**GOOD, **lie})}), {"0": X.tobytes()})).code == "bad-pth"


DEEP = b")" + b"\x85" * 200_000
BAD_PICKLES = {
    "missing data": table({"x": tensor("9", "<f4", **GOOD)}),
    "no tensors": table({"x": number(1)}),
    "not a table": number(1),
    "complex numbers": table({"x": name("torch.ComplexFloatStorage")}),
    "an opcode for objects": name("collections.OrderedDict") + b")\x81",
    "a length of 4 GB": b"X\xff\xff\xff\xff",
    "a memo index of 4 billion": b"j\xff\xff\xff\xff",
    "huge binary data": b"\x8e" + struct.pack("<Q", 1 << 60),
    "a deep tuple as a key": b"}" + DEEP + number(1) + b"s",
    "a deep tuple as a global": DEEP + DEEP + b"\x93",
    "arguments for OrderedDict": name("collections.OrderedDict") + b"(]tR",
    "an empty stack": b"0",
    "taking below a mark": number(1) + b"(\x85",
    "no end": b"}" * 3 + b"X\x01\x00\x00\x00",
    "a name without end": b"c" + b"a" * 1000,
    "protocol 9": b"\x80\x09}",
    "a call of a number": number(1) + b")R",
    "a shape of text": name("torch.Size") + b"(" + text("abc") + b"tR",
    "too few arguments": name("torch._utils._rebuild_tensor_v2") + b")R",
    "invalid utf-8": b"X\x01\x00\x00\x00\xff",
}


@pytest.mark.parametrize("body", BAD_PICKLES.values(), ids=BAD_PICKLES.keys())
def test_pickles_that_make_no_sense(body: bytes) -> None:
    assert refused(with_pickle(body)).code == "bad-pth"


def test_archives_that_are_not_what_torch_writes() -> None:
    good = b"\x80\x02" + table({"x": tensor("0", "<f4", **GOOD)}) + b"."
    data = {"0": X.tobytes()}
    assert opened(archive(good, data)).tensors
    for broken in (
        archive(good, data, zipfile.ZIP_DEFLATED),
        archive(good, data, byteorder="big"),
        archive(good, data).replace(b"data.pkl", b"data.xyz"),
        archive(b"\x80\x02" + b"N" * (5 << 20) + b".", data),
    ):
        assert refused(broken).code == "bad-pth"


def test_zip64() -> None:
    """Every size and offset in the 64-bit fields, as torch writes archives over 4 GB."""
    plain = save({"x": X})
    end = plain.rindex(b"PK\x05\x06")
    count, _size, offset = struct.unpack("<H2I", plain[end + 10 : end + 20])
    directory, at = b"", offset
    for _ in range(count):
        packed, unpacked, name_len, extra_len = struct.unpack("<2I2H", plain[at + 20 : at + 32])
        (header,) = struct.unpack("<I", plain[at + 42 : at + 46])
        assert not extra_len
        fixed = plain[at : at + 20] + b"\xff" * 8 + struct.pack("<2H", name_len, 28) + plain[at + 32 : at + 42] + b"\xff" * 4
        directory += fixed + plain[at + 46 : at + 46 + name_len] + struct.pack("<2H3Q", 1, 24, unpacked, packed, header)
        at += 46 + name_len
    record = b"PK\x06\x06" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, count, count, len(directory), offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, offset + len(directory), 1)
    tail = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert np.array_equal(opened(plain[:offset] + directory + record + locator + tail).f32("x"), X)
    assert (
        refused(plain[:offset] + directory + record + locator.replace(struct.pack("<Q", offset + len(directory)), b"\xff" * 8) + tail).code
        == "bad-pth"
    )


@pytest.mark.parametrize("cut", [1, 21, 22, 100, len(FILE) // 2, len(FILE) - 1, len(FILE) - 30])
def test_truncated_files(cut: int) -> None:
    assert refused(FILE[:cut]).code in ("bad-pth", "unsupported-file", "truncated-file")


def read_all(data: bytes) -> None:
    """Open and read everything; only an RwkvError may come out of it."""
    try:
        c = opened(data)
        for n in c.tensors:
            c.read(n)
    except RwkvError:
        pass


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files(changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILE)
    for at, value in changes:
        data[at] = value
    read_all(bytes(data))


OPS = b"".join(sorted({bytes([b]) for b in b"\x80\x95N\x88\x89KMJ\x8aGU\x8cX()]}t\x85\x86\x87aesuqr\x94hjc\x93RbQ."}))
FRAGMENTS = [
    text("storage"),
    text("0"),
    number(24),
    numbers((4, 6)),
    name("torch.FloatStorage"),
    name("torch.Size"),
    *(bytes([b]) for b in OPS),
]
FRAGMENTS += [tensor("0", "<f4", **GOOD), name("collections.OrderedDict"), name("torch._utils._rebuild_tensor_v2"), b"h\x00", b"q\x00"]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=40))
def test_random_pickles(parts: list[bytes]) -> None:
    read_all(with_pickle(b"".join(parts), {"0": X.tobytes()}))


def test_make_pth_writes_bf16_by_truncation() -> None:
    assert make_pth.bf16(np.array([1.0], "<f4"))[0] == 0x3F80
