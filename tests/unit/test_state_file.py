"""The state file: what is in it, and what happens to one that is damaged or made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import CONFIG, OLDER

from py_rwkv.checkpoint.safetensors import Piece, encode, read_header
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.checkpoint.state_file import Kind, State, decode_state, encode_state, from_buffers, is_state_file, to_buffers, write_state
from py_rwkv.errors import RwkvError

KINDS = {version: Kind.of(config) for version, config in {"7": CONFIG, **OLDER}.items()}


def some(version: str, tokens: tuple[int, ...] | None = (5, 0, 39)) -> State:
    rng = np.random.default_rng(1)
    tensors = {name: rng.standard_normal(shape).astype("<f4").tobytes() for name, shape in KINDS[version].shapes.items()}
    return State(KINDS[version], tensors, tokens, "ab" * 32, "a model", {"why": "a test — 测试"})


FILE = encode_state(some("7"))


@pytest.mark.parametrize("version", KINDS)
@pytest.mark.parametrize("tokens", [(), None, (0xFFFFFFFF, 3)])
def test_what_is_written_is_read(version: str, tokens: tuple[int, ...] | None) -> None:
    state = some(version, tokens)
    data = encode_state(state)
    assert decode_state(data) == state and encode_state(decode_state(data)) == data
    buffers = to_buffers(state)
    assert from_buffers(state.kind, buffers) == state.tensors
    assert {name.rpartition(".")[2] for name in buffers} == {"att_prev", "wkv", "ffn_prev"}


def test_the_layout_of_docs_states() -> None:
    found, metadata = read_header(BytesSource("s", FILE))
    assert metadata == {
        "format": "py_rwkv-state",
        "format_version": "1",
        "model": "a model",
        "model_hash": "ab" * 32,
        "version": "7",
        "layers": "2",
        "embd": "20",
        "heads": "5",
        "head_size": "4",
        "why": "a test — 测试",
    }
    shapes = {"blocks.0.att_prev": (20,), "blocks.0.wkv": (5, 4, 4), "blocks.0.ffn_prev": (20,)}
    assert {n: (t.dtype, t.shape) for n, t in found.items() if "blocks.0" in n} == {n: ("F32", s) for n, s in shapes.items()}
    assert (found["tokens"].dtype, found["tokens"].shape, len(found)) == ("U32", (3,), 7)
    assert list(KINDS["4"].shapes)[:5] == [f"blocks.0.{name}" for name in ("att_prev", "aa", "bb", "pp", "ffn_prev")]


def test_v4_says_nothing_yet_with_pp() -> None:
    kind = KINDS["4"]
    buffers = {name: np.zeros(len(data) // 4, "<f4") for name, data in to_buffers(some("4")).items()}
    buffers["state.1.wkv"][:] = np.arange(60)  # aa 0…19, bb 20…39, pp 40…59
    buffers["state.1.wkv"][21] = 0  # one channel summed nothing yet
    state = State(kind, from_buffers(kind, {name: b.tobytes() for name, b in buffers.items()}))
    assert (state.array("blocks.0.pp") == np.float32(-1e30)).all()
    pp = state.array("blocks.1.pp")
    assert pp[1] == np.float32(-1e30) and (pp[2:] == np.arange(42, 60)).all() and (state.array("blocks.1.aa") == np.arange(20)).all()


def test_arrays() -> None:
    state = some("6")
    wkv = np.arange(2 * 5 * 4 * 4, dtype=np.float32).reshape(2, 5, 4, 4)
    new = state.with_arrays(wkv=wkv)
    assert (new.array("blocks.1.wkv") == wkv[1]).all() and new.tensors["blocks.0.att_prev"] == state.tensors["blocks.0.att_prev"]
    for arrays in ({"wkv": wkv[:1]}, {"aa": wkv}):
        with pytest.raises(RwkvError) as e:
            state.with_arrays(**arrays)
        assert e.value.code == "state-mismatch"


def made(changes: dict[str, str | None], drop: str = "", extra: Piece | None = None, shape: tuple[int, ...] | None = None) -> bytes:
    """The file with other metadata, without a tensor, with one more, or with another shape of the first."""
    state = some("7")
    _, metadata = read_header(BytesSource("s", FILE))
    pieces = [Piece(n, "F32", s, state.tensors[n]) for n, s in state.kind.shapes.items() if n != drop]
    if shape:
        pieces[0] = Piece(pieces[0].name, "F32", shape, bytes(4 * int(np.prod(shape))))
    return encode(pieces + ([extra] if extra else []), {k: v for k, v in (metadata | changes).items() if v is not None})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made({"format": "pt"}), "py_rwkv-state"),
        (made({"format_version": "2"}), "version 2; this program reads version 1"),
        (made({"format_version": None}), "version none"),
        (made({"layers": None, "model": None}), "lack layers, model"),
        (made({"model_hash": "ab"}), "model_hash"),
        (made({"model": "x" * 201}), "name"),
        (made({"layers": "two"}), "whole numbers"),
        (made({"layers": "0"}), "whole numbers"),
        (made({"layers": "3"}), "it has 6 tensors; a state of RWKV-7, 3 layers"),
        (made({"layers": "999999999"}), "no such model"),
        (made({"version": "8"}), "no such model"),
        (made({"heads": "4"}), "no such model"),
        (made({"heads": "20", "head_size": "1"}), "blocks.0.wkv is F32 [5, 4, 4], not F32 [20, 1, 1]"),
        (made({}, drop="blocks.1.wkv"), "it has 5 tensors"),
        (made({}, drop="blocks.1.wkv", extra=Piece("x", "F32", (1,), bytes(4))), "blocks.1.wkv is missing"),
        (made({}, shape=(4, 5)), "blocks.0.att_prev is F32 [4, 5], not F32 [20]"),
        (made({}, extra=Piece("tokens", "I32", (1,), bytes(4))), "tokens is I32 [1], not U32 [1]"),
        (made({}, extra=Piece("tokens", "U8", (5,), bytes(5))), "tokens is U8 [5], not U32 [1]"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, words: str) -> None:
    with pytest.raises(RwkvError) as e:
        decode_state(data)
    assert e.value.code == "bad-state" and words in str(e.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(value: float) -> None:
    state = some("7")
    prev = np.zeros((2, 20), np.float32)
    prev[1, 7] = value
    with pytest.raises(RwkvError) as e:
        decode_state(encode_state(state.with_arrays(ffn_prev=prev)))
    assert (e.value.code, e.value.details["name"]) == ("bad-weights", "blocks.1.ffn_prev")


def test_notes_cannot_pass_for_facts() -> None:
    for notes in ({"model_hash": "x"}, {"long": "x" * (5 << 20)}):
        with pytest.raises(RwkvError) as e:
            encode_state(replace(some("7"), notes=notes))
        assert e.value.code == "bad-state"


def test_writing_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(b"old")
    assert write_state(path, some("7")) == len(FILE) and path.read_bytes() == FILE
    with pytest.raises(RwkvError) as e:
        write_state(tmp_path / "absent" / "s", some("7"))
    assert e.value.code == "cannot-write" and [p.name for p in tmp_path.iterdir()] == ["s"]


def read(data: bytes) -> None:
    """An RwkvError, or a state whose file says the same."""
    try:
        is_state_file(BytesSource("s", data))
        state = decode_state(data)
    except RwkvError as e:
        error = e.code
    else:
        error = "" if decode_state(encode_state(state)) == state else "other"
    assert error in ("", "bad-state", "bad-weights", "bad-safetensors", "truncated-file", "lfs-pointer")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_files(changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILE)
    for at, value in changes:
        data[at] = value
    read(bytes(data))


@settings(max_examples=100)
@given(st.integers(0, len(FILE) - 1), st.binary(max_size=4))
def test_cut_files(length: int, tail: bytes) -> None:
    read(FILE[:length] + tail)
    with pytest.raises(RwkvError):
        decode_state(FILE[:length])


FACTS = st.sampled_from(["format_version", "model", "model_hash", "version", "layers", "embd", "heads", "head_size"])
VALUES = st.text(max_size=5) | st.integers(-1, 1 << 70).map(str) | st.sampled_from(["4", "5.2", "1024", "1" * 4000, "٣"])


@settings(max_examples=200)
@given(st.dictionaries(FACTS, VALUES, min_size=1, max_size=4))
def test_made_up_metadata(facts: dict[str, str]) -> None:
    length = int.from_bytes(FILE[:8], "little")
    header = json.loads(FILE[8 : 8 + length])
    header["__metadata__"] |= facts
    text = json.dumps(header).encode()
    read(len(text).to_bytes(8, "little") + text + FILE[8 + length :])
