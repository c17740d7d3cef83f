"""A packed model read back under official names: encodings decoded, paddings cut, folded vectors unfolded, factors turned again.

f16 and f32 weights come back exactly, int8 ones as the numbers they stand for. Vectors that `pack` folds (V4 and V5 mixes, V5 decays and bonuses) come
back to rounding. So does the embedding, which is packed behind its LayerNorm, and only where the model kept `blocks.0.ln0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.layout import FOLDED, UNUSED, Packed, layout
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Expected, tensors

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32

EPS = 1e-5


class OfficialTensor:
    """One tensor: dtype `F32` or `F16`, its official shape, and `rows(first, count)`, the numbers f32."""

    def __init__(self, weights: Weights, expected: Expected, packed: Packed | None) -> None:
        self.name, self.shape, self._weights, self._packed, self._expected = expected.name, expected.shape, weights, packed, expected
        matrix = packed is not None and packed.kind != "vector" and self.name != "emb.weight"
        self.dtype = "F16" if matrix and weights.strategy.encoding(expected.name) == "f16" else "F32"

    def numbers(self) -> F32:
        """The whole tensor, f32 in its official shape."""
        w, t = self._weights, self._packed
        if t is None:
            return w.f32(self.name).reshape(self.shape)
        x = w.f32(t.name)
        if t.kind == "vector":
            return _unfolded(x[:: t.columns // prod(self.shape)], t.fold).reshape(self.shape)
        if t.kind == "matrix":
            x = x[:, : self.shape[1]]
            return unfold_embedding(x, *(w.f32(name) for name in FOLDED)) if self.name == "emb.weight" else x
        if t.kind == "factor":
            return x[:, : self.shape[0]].T
        each, inputs = (self.shape[1] // t.groups, self.shape[0]) if len(self.shape) == 2 else (self.shape[2], self.shape[1])
        groups = x.reshape(t.groups, t.rows // t.groups, -1)[:, :each, :inputs]  # [groups, outputs, inputs]
        return groups.reshape(-1, inputs).T if len(self.shape) == 2 else groups.swapaxes(1, 2)


def official_tensors(weights: Weights) -> Iterator[OfficialTensor]:
    """Every official tensor of the model, in official order. RwkvError `cannot-export` if `blocks.0.ln0` was not kept."""
    config = weights.manifest.config
    packed = {t.source: t for t in layout(config)}
    if missing := [name for name in FOLDED if name not in weights.manifest.tensors]:
        raise RwkvError("cannot-export", format="official tensors", reason=f"its embedding was packed without keeping {missing[0]}")
    for expected in tensors(config):
        if expected.name not in UNUSED:
            yield OfficialTensor(weights, expected, packed.get(expected.name))


def unfold_embedding(e: F32, gain: F32, bias: F32) -> F32:
    """Rows whose LayerNorm with this gain and bias is `e`, f32 [n, C]: not the original ones, but with the same effect to rounding.

    A LayerNorm forgets a row's mean and, up to its eps, its length. Rows are made long, so that the eps matters no more than it did.
    """
    out = np.empty(e.shape, np.float32)
    for first in range(0, len(e), 4096):
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(gain != 0, (e[first : first + 4096].astype(np.float64) - bias) / gain, 0)
        x -= x.mean(axis=1, keepdims=True)
        variance = (x * x).mean(axis=1, keepdims=True)  # v / (v + eps) of the original row's v: below one
        out[first : first + 4096] = x * np.sqrt(EPS / np.maximum(1 - variance, 1e-7))
    return out


def _unfolded(v: F32, fold: str) -> F32:
    with np.errstate(divide="ignore", over="ignore"):
        x = v.astype(np.float64)
        if fold == "complement":
            x = 1 - x
        elif fold == "exp":
            x = np.log(x)
        elif fold == "decay":  # a decay that was rounded to 0 or 1 comes back as a very quick or very slow one
            x = np.log(-np.log(np.clip(x, 1e-45, 1 - 2.0**-25)))
        return x.astype(np.float32)
