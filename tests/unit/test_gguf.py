"""GGUF: llama.cpp's names and layouts undone, its quantized blocks decoded as its own formulas say, and no header believed."""

from __future__ import annotations

import struct
from collections.abc import Callable

import dialect_files as files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_pth import bf16, save
from models import pieces

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.convert import natural_strategy
from py_rwkv.checkpoint.ggml import BLOCKS, decode_rows
from py_rwkv.checkpoint.layout import UNUSED
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config, detect
from py_rwkv.quant import parse_strategy


def opened(data: bytes) -> Checkpoint:
    return open_checkpoint(BytesSource("m.gguf", data))


def packed(c: Checkpoint) -> tuple[Config, list[tuple[object, ...]]]:
    config = detect(c.shapes)
    return config, [(p.name, p.dtype, p.shape, bytes(p.data)) for p in pieces(c, config, parse_strategy("f32"))]


def official(arrays: files.Arrays) -> Checkpoint:
    return open_checkpoint(BytesSource("m.pth", save(arrays)))


@pytest.mark.parametrize("fused", [True, False])
def test_rwkv6(fused: bool) -> None:
    w = files.weights(files.config("6"))
    c = opened(files.gguf(files.gguf_tensors(w, "6", fused=fused), "rwkv6", rwkv6__wkv__head_size=4))
    assert packed(c) == packed(official(w)) and natural_strategy(c) == "f32"


def test_rwkv7() -> None:
    w = files.weights(files.config("7"))
    arrays = files.gguf_tensors(w, "7")
    assert arrays["blk.0.time_mix_v1.weight"].shape == (5, 20)  # the dummy: a copy of a1, of another rank than v's
    assert packed(opened(files.gguf(arrays, "rwkv7", rwkv7__wkv__head_size=4))) == packed(official(w))


@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<u2"])
def test_rescaled_layers_are_scaled_back(dtype: str) -> None:
    w = files.weights(files.config("6", layers=5))
    w = {name: np.rint(a * 64) / np.float32(64) for name, a in w.items()}  # so that halving them is exact in f16 too
    w = {name: bf16(a).reshape(a.shape) if dtype == "<u2" else a.astype(dtype) for name, a in w.items()}
    if dtype == "<u2":  # halving the bits of a bf16 means one less in the exponent
        arrays = files.gguf_tensors(w, "6")
        for block in range(5):
            for name in ("time_mix_output", "channel_mix_value"):
                bits = arrays[f"blk.{block}.{name}.weight"]
                arrays[f"blk.{block}.{name}.weight"] = np.where(bits & 0x7FFF, bits - np.uint16((block // 2) << 7), bits)
    else:
        arrays = files.gguf_tensors(w, "6", rescale=2)
    assert not np.array_equal(arrays["blk.4.time_mix_output.weight"], w["blocks.4.att.output.weight"])
    c = opened(files.gguf(arrays, "rwkv6", rwkv6__rescale_every_n_layers=2))
    assert packed(c) == packed(official(w))


def test_quantized_matrices() -> None:
    """Q8_0 as the simplest: the numbers are those of an official file with the decoded weights, and the natural precision is f16."""
    c = files.config("7", embd=64, heads=4, ffn=96)
    w = files.weights(c)
    arrays: dict[str, np.ndarray | tuple[int, tuple[int, ...], bytes]] = dict(files.gguf_tensors(w, "7"))
    for name, a in list(arrays.items()):
        if isinstance(a, np.ndarray) and a.ndim == 2 and a.shape[1] % 32 == 0 and "_w" not in name:
            d = (np.abs(a.reshape(-1, 32)).max(1) / 127).astype("<f2")
            q = np.rint(a.reshape(-1, 32) / d.astype("f4")[:, None]).astype("i1")
            arrays[name] = (8, a.shape, b"".join(x.tobytes() + y.tobytes() for x, y in zip(d, q, strict=True)))
    found = opened(files.gguf(arrays, "rwkv7", rwkv7__wkv__head_size=16))
    assert natural_strategy(found) == "f16" and found.tensors["head.weight"].dtype == "F32"
    decoded = {name: found.f32(name).reshape(w[name].shape) for name in w if name not in UNUSED}
    assert 0 < np.abs(decoded["head.weight"] - w["head.weight"]).max() < 0.03
    assert np.array_equal(found.f32("head.weight", 3, 2), decoded["head.weight"][3:5])
    assert packed(found)[1] == packed(official(decoded | {name: w[name] for name in UNUSED}))[1]


# ---- the formulas of ggml's quantized types, one weight at a time --------------------------------------------------------------------------


def half(b: bytes, at: int) -> np.float32:
    return np.float32(np.frombuffer(b, "<f2", 1, at)[0])


def simple(b: bytes, i: int, at: int, high: int | None) -> int:
    q = b[at + i % 16] >> 4 * (i // 16) & 15
    return q | ((int.from_bytes(b[high : high + 4], "little") >> i & 1) << 4 if high is not None else 0)


def scale_min(b: bytes, at: int, j: int) -> tuple[int, int]:
    s = b[at : at + 12]
    if j < 4:
        return s[j] & 63, s[j + 4] & 63
    return s[j + 4] & 15 | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4


def q2(b: bytes, i: int) -> np.float32:
    q = b[16 + i // 128 * 32 + i % 32] >> (i % 128 // 32 * 2) & 3
    s = b[i // 16]
    return half(b, 80) * np.float32(s & 15) * np.float32(q) - half(b, 82) * np.float32(s >> 4)


def q3(b: bytes, i: int) -> np.float32:
    q = (b[32 + i // 128 * 32 + i % 32] >> (i % 128 // 32 * 2) & 3) - (0 if b[i % 32] >> (i // 32) & 1 else 4)
    j, s = i // 16, b[96:108]
    low, top = s[j % 8] >> 4 * (j // 8) & 15, s[8 + j % 4] >> 2 * (j // 4) & 3
    return half(b, 108) * np.float32((low | top << 4) - 32) * np.float32(q)


def q45(b: bytes, i: int, at: int, high: int | None) -> np.float32:
    q = b[at + i // 64 * 32 + i % 32] >> 4 * (i % 64 // 32) & 15
    q |= (b[high + i % 32] >> (i // 32) & 1) << 4 if high is not None else 0
    s, m = scale_min(b, 4, i // 32)
    return half(b, 0) * np.float32(s) * np.float32(q) - half(b, 2) * np.float32(m)


def q6(b: bytes, i: int) -> np.float32:
    n, j = divmod(i, 128)
    low = b[64 * n + j % 64] >> 4 * (j // 64) & 15
    top = b[128 + 32 * n + j % 32] >> 2 * (j // 32) & 3
    return half(b, 208) * np.float32(np.int8(np.uint8(b[192 + i // 16]))) * np.float32((low | top << 4) - 32)


FORMULAS: dict[str, Callable[[bytes, int], object]] = {
    "Q4_0": lambda b, i: half(b, 0) * np.float32(simple(b, i, 2, None) - 8),
    "Q4_1": lambda b, i: half(b, 0) * np.float32(simple(b, i, 4, None)) + half(b, 2),
    "Q5_0": lambda b, i: half(b, 0) * np.float32(simple(b, i, 6, 2) - 16),
    "Q5_1": lambda b, i: half(b, 0) * np.float32(simple(b, i, 8, 4)) + half(b, 2),
    "Q8_0": lambda b, i: half(b, 0) * np.float32(np.int8(np.uint8(b[2 + i]))),
    "Q2_K": q2,
    "Q3_K": q3,
    "Q4_K": lambda b, i: q45(b, i, 16, None),
    "Q5_K": lambda b, i: q45(b, i, 48, 16),
    "Q6_K": q6,
}


@pytest.mark.parametrize("kind", BLOCKS.values(), ids=lambda k: k.name)
def test_block_types(kind: object, rng: np.random.Generator) -> None:
    t = next(t for t in BLOCKS.values() if t is kind)
    blocks = rng.integers(0, 256, (6, t.nbytes), dtype=np.uint8)
    for at in {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2)}.get(
        t.name, (0,)
    ):
        blocks[:, at : at + 2] = rng.standard_normal((6, 1)).astype("<f2").view("u1")
    wanted = [[FORMULAS[t.name](block.tobytes(), i) for i in range(t.weights)] for block in blocks]
    assert np.array_equal(decode_rows(t, blocks.reshape(2, -1)), np.array(wanted, "<f4").reshape(2, -1))


# ---- headers ---------------------------------------------------------------------------------------------------------------------------------

SMALL = files.gguf(files.gguf_tensors(files.weights(files.config("7")), "7"), "rwkv7", rwkv7__wkv__head_size=4)


def refused(data: bytes) -> RwkvError:
    with pytest.raises(RwkvError) as e:
        opened(data)
    return e.value


def code(action: Callable[[], object]) -> str:
    """The code of the error that it ends with, empty if it ends well."""
    try:
        action()
    except RwkvError as e:
        return e.code
    return ""


def test_other_architectures_are_named() -> None:
    e = refused(files.gguf({"output.weight": np.zeros((4, 4), "<f4")}, "llama"))
    assert e.code == "unsupported-architecture" and "llama" in str(e)


def test_broken_files() -> None:
    assert refused(SMALL[:-40]).code == "truncated-file"
    assert "ends too early" in str(refused(SMALL[:500]))
    assert "version" in str(refused(SMALL[:4] + struct.pack("<I", 3 << 24) + SMALL[8:]))
    assert "claims" in str(refused(SMALL[:8] + struct.pack("<Q", 1 << 60) + SMALL[16:]))
    one = {"output.weight": np.zeros((4, 4), "<f4")}
    assert refused(files.gguf(one, "rwkv7", general__alignment=0)).code == "bad-gguf"
    two = files.gguf({"output.weight": np.zeros((8, 8), "<f4"), "output_norm.weight": np.zeros(64, "<f4")}, "rwkv7")
    at = two.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8 + 4
    assert "overlap" in str(refused(two[:at] + struct.pack("<Q", 32) + two[at + 8 :]))
    assert "described wrongly" in str(refused(two[:at] + struct.pack("<Q", 33) + two[at + 8 :]))
    twice = files.gguf({"output.weight": np.zeros((8, 8), "<f4"), "output.weighs": np.zeros((8, 8), "<f4")}, "rwkv7")
    assert "occurs twice" in str(refused(twice.replace(b"weighs", b"weight")))


def test_types_without_a_decoder_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)  # not installed
    e = refused(files.gguf({"output.weight": (16, (4, 256), bytes(4 * 66))}, "rwkv7"))
    assert e.code == "gguf-type" and e.details == {"file": "m.gguf", "name": "output.weight", "found": 16}
    assert "rows of 40" in str(refused(files.gguf({"output.weight": (8, (4, 40), bytes(200))}, "rwkv7")))


HEADER = len(SMALL) - sum(-(-a.nbytes // 32) * 32 for a in files.gguf_tensors(files.weights(files.config("7")), "7").values())


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, HEADER), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 2))
def test_mutated_headers_give_codes(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(SMALL)
    for at, byte in changes:
        data[at] = byte
    assert code(lambda: packed(opened(bytes(data[: len(data) - cut * 1000])))) != "internal"


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_random_bytes_give_codes(tail: bytes) -> None:
    assert refused(b"GGUF\x03\0\0\0" + tail).code in ("bad-gguf", "unsupported-architecture", "truncated-file", "gguf-type", "wrong-shape")
