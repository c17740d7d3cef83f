"""Rows as their file has them, and the numpy quantizer: what it encodes is what the encodings make of the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_pth import bf16
from models import finished

from py_rwkv.checkpoint.quantizer import NumpyQuantizer, Rows
from py_rwkv.quant import ENCODINGS

CODES = {"F32": "<u4", "F16": "<u2", "BF16": "<u2"}


def numbers(dtype: str, bits: np.ndarray) -> np.ndarray:
    wide = bits.astype("<u4") << 16 if dtype == "BF16" else bits
    return wide.view("<f2" if dtype == "F16" else "<f4")


@given(st.sampled_from(list(CODES)), st.integers(0, 2**32 - 1), st.booleans())
def test_the_largest_magnitude_of_any_bits(dtype: str, seed: int, odd: bool) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 16, 40).astype(CODES[dtype]) << np.array(0 if dtype != "F32" else 16, CODES[dtype])
    if not odd:  # numbers below one only
        bits &= {"F32": 0xBF000000, "F16": 0xBBFF, "BF16": 0xBF00}[dtype]
    x = np.abs(numbers(dtype, bits).astype("f8"))
    expected = float(x.max()) if np.isfinite(x).all() else np.inf
    assert Rows(dtype, 8, bits.tobytes()).largest() == expected


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_infinite(dtype: str, value: float) -> None:
    x = np.full((3, 5), 0.5, np.float32)
    x[1, 2] = value
    raw = bf16(x) if dtype == "BF16" else x.astype("<f4" if dtype == "F32" else "<f2")
    assert Rows(dtype, 5, raw.tobytes()).largest() == np.inf
    raw[1, 2] = raw[0, 0]
    assert Rows(dtype, 5, raw.tobytes()).largest() == 0.5


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_are_padded_and_encoded(dtype: str, encoding: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 77)).astype("<f4")
    raw = bf16(x) if dtype == "BF16" else x.astype("<f4" if dtype == "F32" else "<f2")
    rows = Rows(dtype, 77, raw.tobytes())
    assert len(rows) == 7 and np.array_equal(rows.f32(), numbers(dtype, raw).astype("f4").reshape(7, 77))
    padded = np.zeros((7, 80), np.float32)
    padded[:, :77] = rows.f32()
    found, expected = finished(NumpyQuantizer().encode(encoding, rows)), ENCODINGS[encoding].encode(padded)
    assert found.keys() == expected.keys() and all(np.array_equal(found[s], expected[s]) for s in expected)
