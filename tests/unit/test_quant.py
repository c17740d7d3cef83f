"""Encodings: layout, exactness, error bounds, the algorithm of docs/quantization.md, and that they beat web-rwkv's formats of the same size."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import web_rwkv_formats
from golden.random_model import Shape, make
from hypothesis import given
from hypothesis import strategies as st
from quantized_models import divergence, f16, heavy_tailed, layer_matrices, log_probs, ours, perplexity, relative_rmse, through

from py_rwkv.quant import BLOCK, ENCODINGS
from py_rwkv.quant.blocks import AT_ONCE, code_of, pack4, scale_of, unpack4
from py_rwkv.quant.nf4 import VALUES

SEARCHED = ("int8", "int4", "nf4")
DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b).astype("f8") ** 2)))


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("shape", [(1, 16), (3, 64), (5, 80), (2, 1040), (AT_ONCE + 3, 16)], ids=str)
def test_parts_have_the_layout_that_is_announced(name: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    e = ENCODINGS[name]
    parts = e.encode(rng.standard_normal(shape, dtype="f4"))
    assert {s: (DTYPES[p.dtype.name], p.shape) for s, p in parts.items()} == e.layout(*shape)
    if shape[1] % BLOCK == 0:
        assert sum(p.nbytes for p in parts.values()) == e.bytes_per_weight * shape[0] * shape[1]
    decoded = e.decode(parts)
    assert decoded.shape == shape and decoded.dtype == np.float32


def test_f32_and_f16_keep_what_they_can(rng: np.random.Generator) -> None:
    w = rng.standard_normal((7, 48), dtype="f4")
    assert np.array_equal(ENCODINGS["f32"].decode(ENCODINGS["f32"].encode(w)), w)
    half = w.astype("f2").astype("f4")
    assert np.array_equal(ENCODINGS["f16"].decode(ENCODINGS["f16"].encode(half)), half)


def test_scales() -> None:
    c = np.arange(256)
    scale = scale_of(c)
    assert np.array_equal(scale, 2.0 ** (c // 8 - 16) * (1 + c % 8 / 8))
    assert np.array_equal(code_of(scale), c)
    between = (scale[:-1] + scale[1:]) / 2
    assert np.array_equal(code_of(between * np.float32(0.999)), c[:-1]) and np.array_equal(code_of(between * np.float32(1.001)), c[1:])
    assert code_of(np.zeros(1, "f4"))[0] < 0 and code_of(np.full(1, 3e38, "f4"))[0] > 255


def test_two_columns_to_a_byte() -> None:
    q = np.arange(16, dtype="u1")[None]
    words = pack4(q).view("<u4")[0]
    assert np.array_equal((words & 0x0F0F0F0F).view("u1"), [0, 1, 2, 3, 8, 9, 10, 11])
    assert np.array_equal((words >> 4 & 0x0F0F0F0F).view("u1"), [4, 5, 6, 7, 12, 13, 14, 15])
    assert np.array_equal(unpack4(pack4(q)), q)


def search(name: str, x: np.ndarray) -> np.ndarray:
    """One block, decoded, by the text of docs/quantization.md: f32, but sums in f64."""
    tries = []
    if name == "int4":
        low, high = min(0, x.min()), max(0, x.max())
        start = int(code_of(np.array([(high - low) / 15]))[0])
    else:
        start = int(code_of(np.abs(x).max(keepdims=True))[0])
    for d in {"int8": (-1, 0, 1, 2, 3), "nf4": (0, -1, -2, -3, -4, 1), "int4": (0, -1, -2, -3, 1)}[name]:
        s = scale_of(np.array([start + d]))[0]
        y = x * (1 / s)
        if name == "int8":
            tries.append(np.clip(np.rint(y * np.float32(127)), -127, 127) / 127 * s)
        elif name == "nf4":
            values = np.array(VALUES, "f4")
            tries.append(values[np.abs(y[:, None] - values).argmin(1)] * s)
        else:
            zero, unit = 7.5 - (low + high) / 2 / s, 1 / 16 if x[-1] else 1
            for _ in range(3):
                zero = np.clip(np.rint(zero / unit) * unit, 0, 15)
                q = np.clip(np.rint(y + zero), 0, 15)
                tries.append((q - zero) * s)
                zero = np.mean(q - y)
    return min(tries, key=lambda t: np.square(t - x).sum())


@pytest.mark.parametrize("name", SEARCHED)
def test_blocks_are_searched_as_documented(name: str, rng: np.random.Generator) -> None:
    e = ENCODINGS[name]
    x = rng.standard_t(3, (200, 32)).astype("f4") * np.float32(10) ** rng.uniform(-4, 3, (200, 1)).astype("f4")
    x[::5] = np.abs(x[::5])
    x[::7, -1] = 0
    found, expected = e.decode(e.encode(x)), np.array([search(name, row) for row in x])
    size = np.abs(x).max(1, keepdims=True)
    ties = (np.abs(found - expected) > 1e-5 * size).any(1)  # errors that are equal to rounding
    error = lambda w: np.square(w - x).sum(1)[ties]  # noqa: E731
    assert ties.mean() < 0.03
    assert np.allclose(error(found), error(expected), rtol=1e-4)


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("value", [0.0, 1e-30, 6e-8, 3e-6, 1.0, 60000.0, 61440.0])
def test_the_smallest_and_largest_weights(name: str, value: float) -> None:
    e, w = ENCODINGS[name], np.full((2, 64), value, "f4")
    w[1] *= -1
    with np.errstate(all="raise"):
        parts = e.encode(w)
        decoded = e.decode(parts)
    assert e.largest == 61440
    assert np.abs(decoded - w).max() <= max(value * (0.01 if name == "int8" else 0.1), 2e-6)


@pytest.mark.parametrize("name", SEARCHED)
def test_padding_stays_zero(name: str, rng: np.random.Generator) -> None:
    """Columns behind the last one meet activations that are not zero (a sigmoid's 0.5)."""
    w = np.zeros((50, 80), "f4")
    w[:, :70] = rng.standard_normal((50, 70)) + rng.uniform(-3, 3, (50, 1))
    decoded = ENCODINGS[name].decode(ENCODINGS[name].encode(w))
    assert not decoded[:, 70:].any() and rmse(decoded, w) < 0.3


@pytest.mark.parametrize("name", SEARCHED)
def test_a_buffer_of_zeros_decodes_to_next_to_nothing(name: str) -> None:
    """Stacked matrices have gaps between them that nobody writes."""
    e = ENCODINGS[name]
    zeros = {s: np.zeros(shape, {v: k for k, v in DTYPES.items()}[dtype]) for s, (dtype, shape) in e.layout(16, 64).items()}
    assert np.abs(e.decode(zeros)).max() <= 2**-16


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1), st.floats(1e-6, 1e3), st.sampled_from(SEARCHED))
def test_no_weight_errs_by_more_than_a_step_of_its_block(rows: int, chunks: int, seed: int, size: float, name: str) -> None:
    e, w = ENCODINGS[name], (np.random.default_rng(seed).standard_normal((rows, 16 * chunks)) * size).astype("f4")
    decoded = e.decode(e.encode(w))
    for k in range(0, w.shape[1], BLOCK):
        b = np.s_[:, k : k + BLOCK]
        largest = np.abs(w[b]).max(1, keepdims=True)
        step = {"int8": 1 / 120, "int4": 0.2, "nf4": 0.35}[name]
        assert (np.abs(decoded[b] - w[b]) <= largest * step + 2**-17).all()


@pytest.mark.parametrize("name", SEARCHED)
def test_every_row_is_encoded_by_itself(name: str, rng: np.random.Generator) -> None:
    e, w = ENCODINGS[name], rng.standard_normal((9, 208), dtype="f4")
    whole, part = e.encode(w), e.encode(w[3:5])
    assert all(np.array_equal(whole[s][3:5], part[s]) for s in whole)


DRAWS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "student 4": lambda rng, shape: rng.standard_t(4, shape),
    "student 3": lambda rng, shape: rng.standard_t(3, shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "outlier columns": lambda rng, shape: rng.standard_normal(shape) * np.where(rng.random(shape[1]) < 0.02, 10, 1),
    "off centre": lambda rng, shape: rng.standard_normal(shape) + 0.5,
}


SYMMETRIC = ("uniform", "off centre")  # where 255 steps from the smallest to the largest weight are hard to beat


@pytest.mark.parametrize(("name", "draw"), [(n, d) for n in ("int8", "nf4") for d in DRAWS if n != "int8" or d not in SYMMETRIC])
def test_weights_lose_less_than_in_web_rwkv_at_equal_bits(name: str, draw: str, rng: np.random.Generator) -> None:
    w = f16(0.05 * DRAWS[draw](rng, (192, 768)))
    theirs, mine = web_rwkv_formats.FORMATS[name](w), ours(name)(w)
    assert rmse(mine, w) <= rmse(theirs, w)
    assert rmse(ours("int4")(w), w) <= rmse(web_rwkv_formats.nf4(w), w)


@pytest.mark.parametrize("degrees", [3, 1000], ids=["heavy tails", "normal"])
def test_predictions_stay_nearer_than_in_web_rwkv_at_equal_bits(degrees: float) -> None:
    shape = Shape(layers=2, heads=2, ranks=(16, 16, 16, 32), vocab=64, seed=3)
    weights = {name: f16(w) for name, w in heavy_tailed(make(shape), degrees).items()}
    rng = np.random.default_rng(0)
    texts = [[int(t) for t in rng.integers(0, 64, 96)]]
    formats = {"int8": ours("int8"), "nf4": ours("nf4"), "theirs int8": web_rwkv_formats.int8, "theirs nf4": web_rwkv_formats.nf4}

    async def measure() -> tuple[dict[str, float], dict[str, float]]:
        base, kl, change = await log_probs(weights, texts), {}, {}
        for name, format_ in formats.items():
            found = await log_probs(through(weights, format_), texts)
            kl[name], change[name] = divergence(base, found), abs(np.log(perplexity(found, texts) / perplexity(base, texts)))
        return kl, change

    kl, change = asyncio.run(measure())
    assert 0 < kl["int8"] < kl["theirs int8"] < kl["nf4"] < kl["theirs nf4"]
    assert change["int8"] < 0.01 and change["nf4"] < 0.1
    for name in layer_matrices(weights):
        for e in ("int8", "nf4"):
            lost = [relative_rmse(weights, through({name: weights[name]}, formats[f]), [name]) for f in (e, f"theirs {e}")]
            assert lost[0] < lost[1], name
