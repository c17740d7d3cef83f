"""Encodings: exactness, error bounds, and that searching the scale pays; strategy strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_rwkv.errors import RwkvError
from py_rwkv.quant import ENCODINGS, parse_strategy
from py_rwkv.quant.int8 import AT_ONCE, BLOCK

INT8 = ENCODINGS["int8"]


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b).astype("f8") ** 2)))


def absmax(w: np.ndarray) -> np.ndarray:
    """int8 with the plain largest magnitude as the scale: what the search must beat."""
    out = np.empty_like(w)
    for k in range(0, w.shape[1], BLOCK):
        b = w[:, k : k + BLOCK]
        s = np.abs(b).max(1, keepdims=True).astype("f2").astype("f4") / 127
        out[:, k : k + BLOCK] = np.clip(np.rint(b / s), -127, 127) * s
    return out


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("shape", [(1, 16), (3, 64), (5, 80), (2, 1040), (AT_ONCE + 3, 16)], ids=str)
def test_parts_have_the_layout_that_is_announced(name: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    e = ENCODINGS[name]
    parts = e.encode(rng.standard_normal(shape, dtype="f4"))
    short = {"float32": "F32", "float16": "F16", "int8": "I8"}
    assert {s: (short[p.dtype.name], p.shape) for s, p in parts.items()} == e.layout(*shape)
    if shape[1] % BLOCK == 0:
        assert sum(p.nbytes for p in parts.values()) == e.bytes_per_weight * shape[0] * shape[1]
    decoded = e.decode(parts)
    assert decoded.shape == shape and decoded.dtype == np.float32


def test_f32_and_f16_keep_what_they_can(rng: np.random.Generator) -> None:
    w = rng.standard_normal((7, 48), dtype="f4")
    assert np.array_equal(ENCODINGS["f32"].decode(ENCODINGS["f32"].encode(w)), w)
    half = w.astype("f2").astype("f4")
    assert np.array_equal(ENCODINGS["f16"].decode(ENCODINGS["f16"].encode(half)), half)


@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_searching_the_scale_beats_the_largest_magnitude(tails: str, rng: np.random.Generator) -> None:
    w = (rng.standard_normal((256, 1000)) if tails == "normal" else rng.standard_t(3, (256, 1000))).astype("f4") * 0.05
    searched = INT8.decode(INT8.encode(w))
    assert rmse(searched, w) < rmse(absmax(w), w) * 0.98
    for k in range(0, 1000, BLOCK):  # and in no block is it worse
        b = np.s_[:, k : k + BLOCK]
        assert (np.square(searched[b] - w[b]).sum(1) <= np.square(absmax(w)[b] - w[b]).sum(1) * 1.00001).all()


def test_int8_is_q_over_127_times_scale(rng: np.random.Generator) -> None:
    parts = INT8.encode(rng.standard_normal((4, 80), dtype="f4"))
    w = INT8.decode(parts)
    q, scale = parts[""].astype("f8"), parts[".scale"].astype("f8")
    assert q.min() >= -127
    assert np.allclose(w, q / 127 * np.repeat(scale, BLOCK, 1)[:, :80], rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e-30, 6e-8, 3e-6, 1.0, 60000.0, 65504.0])
def test_scales_at_the_edges_of_f16(value: float) -> None:
    w = np.full((2, 64), value, "f4")
    w[1] *= -1
    with np.errstate(all="raise"):
        parts = INT8.encode(w)
    decoded = INT8.decode(parts)
    assert np.isfinite(parts[".scale"].astype("f4")).all() and (parts[".scale"] >= 0).all()
    assert np.abs(decoded - w).max() <= max(value * 0.005, 1e-7 if value < 1e-5 else 0)


@given(st.integers(1, 5), st.integers(1, 150), st.integers(0, 2**32 - 1), st.floats(1e-6, 1e4))
def test_int8_never_errs_by_more_than_a_step(rows: int, columns: int, seed: int, size: float) -> None:
    w = (np.random.default_rng(seed).standard_normal((rows, columns)) * size).astype("f4")
    parts = INT8.encode(w)
    step = np.repeat(parts[".scale"].astype("f4"), BLOCK, 1)[:, :columns] / 127
    clipped = np.abs(parts[""]) == 127
    assert (np.abs(INT8.decode(parts) - w)[~clipped] <= step[~clipped] * 0.501).all()


def test_every_row_is_encoded_by_itself(rng: np.random.Generator) -> None:
    w = rng.standard_normal((9, 200), dtype="f4")
    whole, part = INT8.encode(w), INT8.encode(w[3:5])
    assert all(np.array_equal(whole[s][3:5], part[s]) for s in whole)


def test_strategies() -> None:
    s = parse_strategy("int8")
    assert (s.text, s.encoding("head.weight"), s.encoding("blocks.0.att.key.weight")) == ("int8", "int8", "int8")
    s = parse_strategy(" int8 ,head = f16,emb=f32")
    assert s.text == "int8, emb=f32, head=f16" and parse_strategy(s.text) == s
    assert (s.encoding("head.weight"), s.encoding("emb.weight"), s.encoding("blocks.0.ffn.key.weight")) == ("f16", "f32", "int8")


@pytest.mark.parametrize(
    ("text", "named"),
    [("int9", "int9"), ("", ""), ("int8, f16", "f16"), ("int8, tail=f16", "tail=f16"), ("int8, head=q4", "q4"), ("int8 *20", "int8 *20")],
)
def test_unknown_strategies_name_the_part_and_the_choices(text: str, named: str) -> None:
    with pytest.raises(RwkvError) as e:
        parse_strategy(text)
    assert (
        e.value.code == "unknown-strategy"
        and e.value.details["found"] == named
        and "f16" in e.value.details["choices"] + "f16=" * ("=" in named or named == "f16")
    )
