"""A packed model read back under official names: encodings decoded, paddings cut, folded vectors unfolded, factors turned again.

f32 and f16 weights come back exactly, others as the numbers they stand for. What `pack` folds (V4 and V5 mixes, V5 decays and bonuses, the embedding behind its
LayerNorm) comes back as other numbers that fold to the same ones, bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.embedding import unfold
from py_rwkv.checkpoint.layout import FOLDED, UNUSED, Packed, layout, start_layout
from py_rwkv.checkpoint.pack import FOLDS
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Expected, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.checkpoint.layout import Fold
    from py_rwkv.quant.encoding import F32

FORMAT = "official tensors"


class OfficialTensor:
    """One tensor: dtype `F32` or `F16`, its official shape, and its numbers."""

    def __init__(self, weights: Weights, expected: Expected, packed: Packed) -> None:
        self.name, self.shape = expected.name, file_shape(expected.name, expected.shape, weights.manifest.config.version)
        self._weights, self._packed = weights, packed
        matrix = packed.kind != "vector" and self.name != "emb.weight"
        self.dtype = "F16" if matrix and weights.strategy.encoding(expected.name) == "f16" else "F32"

    def numbers(self) -> F32:
        """The whole tensor, f32 in its official shape."""
        w, t = self._weights, self._packed
        x = w.f32(t.name)
        if t.kind == "vector":
            return unfolded(x[:: t.columns // prod(self.shape)], t.fold).reshape(self.shape)
        if t.kind == "matrix":
            x = x[:, : self.shape[1]]
            if self.name != "emb.weight":
                return x
            gain, bias = (w.f32(name) for name in FOLDED)
            return unfold(x, gain, bias, 2**-24 if w.strategy.encoding(t.name) == "f32" else 2**-11)
        if t.kind == "factor":
            return x[:, : self.shape[0]].T
        each, inputs = (self.shape[1] // t.groups, self.shape[0]) if len(self.shape) == 2 else (self.shape[2], self.shape[1])
        groups = x.reshape(t.groups, t.rows // t.groups, -1)[:, :each, :inputs]  # [groups, outputs, inputs]
        return groups.reshape(-1, inputs).T if len(self.shape) == 2 else groups.swapaxes(1, 2)


class TimeState:
    """A layer's default state as official files hold it: F32 [heads, value, key]."""

    dtype = "F32"

    def __init__(self, weights: Weights, layer: int) -> None:
        config = weights.manifest.config
        self.name, self.shape = f"blocks.{layer}.att.time_state", (config.heads, config.head_size, config.head_size)
        self._weights, self._layer, self._turned = weights, layer, config.version != "7"

    def numbers(self) -> F32:
        s = self._weights.f32(f"state.{self._layer}.wkv").reshape(self.shape)
        return s.swapaxes(1, 2) if self._turned else s


WIDE = re.compile(r"\.(time_m(ix|aa)_[xwkvrg]|x_[rwkvag]|[wav]0|k_[ka])$")


def file_shape(name: str, shape: tuple[int, ...], version: str) -> tuple[int, ...]:
    """The shape that official files give a tensor: some vectors are [1, 1, C] there."""
    wide = WIDE.search(name) or version == "6" and name.endswith(".att.time_decay")
    return (1, 1, prod(shape)) if wide else shape


def official_tensors(weights: Weights) -> Iterator[OfficialTensor | TimeState]:
    """Every official tensor of the model, in official order. RwkvError `cannot-export`: `blocks.0.ln0` was not kept, or there is a default state that
    official files have no place for (V4's, and token shifts)."""
    config, held = weights.manifest.config, weights.manifest.tensors
    packed = {t.source: t for t in layout(config)}
    if missing := [name for name in FOLDED if name not in held]:
        raise RwkvError("cannot-export", format=FORMAT, reason=f"its embedding was packed without keeping {missing[0]}")
    states = [name for name in start_layout(config) if name in held]
    for name in states:
        if (config.version == "4" or not name.endswith(".wkv")) and weights.f32(name).any():
            raise RwkvError("cannot-export", format=FORMAT, reason=f"they have no place for {name} of its default state")
    for expected in tensors(config):
        if expected.name not in UNUSED:
            yield OfficialTensor(weights, expected, packed[expected.name])
    for layer in range(config.layers if config.version != "4" else 0):
        if f"state.{layer}.wkv" in held:
            yield TimeState(weights, layer)


def unfolded(v: F32, fold: Fold) -> F32:
    """The f32 numbers nearest to the inverse of `fold` that it folds to `v` again, wherever there are any (there are for what was folded)."""
    if not fold:
        return v
    with np.errstate(all="ignore"):
        wide = v.astype(np.float64)
        if fold == "complement":
            inverse = 1 - wide
        elif fold == "exp":
            inverse = np.clip(np.log(wide), -150, 150)
        else:  # a decay that was rounded to 0 or 1 comes back as a very quick or very slow one
            inverse = np.clip(np.log(-np.log(wide)), -20, 5)
        up = down = out = inverse.astype(np.float32)
        for _ in range(8):
            up, down = np.nextafter(up, np.float32(np.inf)), np.nextafter(down, np.float32(-np.inf))
            for near in (up, down):
                out = np.where((_folded(out, fold) != v) & (_folded(near, fold) == v), near, out)
    return out


def _folded(v: F32, fold: Fold) -> NDArray[np.float32]:
    out: NDArray[np.float32] = FOLDS[fold](v.astype(np.float64)).astype(np.float32)
    return out
