"""LayerNorm (spec: eps 1e-5, biased variance), shared by the references that start with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray


def layer_norm_of(x: ndarray, norm: ndarray) -> ndarray:
    """x [..., C], norm [2, C] gain and bias → [..., C]."""
    centred = x - x.mean(-1, keepdims=True)
    out: ndarray = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * norm[0] + norm[1]
    return out
