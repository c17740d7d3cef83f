"""nf4: the 16 values of QLoRA (arXiv 2305.14314, appendix E) times a scale (4.25 bits per weight). docs/quantization.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np
from py_rwkv.quant import blocks
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

# Quantiles of the normal distribution, scaled to −1 … 1, by a polynomial that shaders can afford: with u = (q − 7) / 7 up to q = 7 and (q − 7) / 8 from there on,
# 0.638231 u + 0.069162 u³ + 0.473971 u⁵ − 0.761089 u⁷ + 0.579725 u⁹, rounded to multiples of 1 / 32767. From QLoRA's it differs by less than 0.0004.
NUMBERS = (-32767, -22805, -17205, -12947, -9309, -6054, -2995, 0, 2619, 5277, 8054, 11067, 14452, 18424, 23701, 32767)
VALUES = tuple(n / 32767 for n in NUMBERS)
OFFSETS = (0, -1, -2, -3, -4, 1)


def _numbers(x: F32) -> NDArray[np.uint8]:
    """x / scale → the number of the nearest value, the lower one in the middle."""
    values = np.array(VALUES, np.float32)
    q = np.zeros(x.shape, np.uint8)
    for middle in (values[1:] + values[:-1]) * np.float32(0.5):
        np.add(q, x > middle, out=q)
    return q


def _rounded(x: F32) -> F32:
    return np.array(VALUES, np.float32)[_numbers(x)]


def _fit(x: F32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    with np.errstate(under="ignore"):
        code = blocks.search(x, blocks.code_of(np.abs(x).max(axis=0)), OFFSETS, _rounded)
        return _numbers(x * blocks.inverse(code)), code.astype(np.uint8)


def _encode(w: F32) -> Parts:
    q, scale = blocks.encode(w, _fit)
    return {".scale": scale, "": blocks.pack4(q)}


def _decode(parts: Parts) -> F32:
    return blocks.scaled(np.array(VALUES, np.float32)[blocks.unpack4(parts[""])], parts[".scale"])


nf4 = Encoding("nf4", 1 / 2 + 1 / blocks.BLOCK, blocks.LARGEST, blocks.layout(2, "U8"), _encode, _decode)
