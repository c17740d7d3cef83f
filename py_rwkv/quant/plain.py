"""Weights as they are: f32, and f16 (rounded to nearest)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np
from py_rwkv.quant.encoding import Encoding

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32, Parts


def _f32_encode(w: F32) -> Parts:
    return {"": np.ascontiguousarray(w, np.float32)}


def _f16_encode(w: F32) -> Parts:
    with np.errstate(under="ignore"):
        return {"": np.clip(w, -65504, 65504).astype(np.float16)}


def _decode(parts: Parts) -> F32:
    return parts[""].astype(np.float32)


f32 = Encoding("f32", 4, 3.4028234e38, lambda m, k: {"": ("F32", (m, k))}, _f32_encode, _decode)
f16 = Encoding("f16", 2, 65504, lambda m, k: {"": ("F16", (m, k))}, _f16_encode, _decode)
