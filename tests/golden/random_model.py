"""Random RWKV-7 checkpoints that come out the same on every machine and with every numpy: nothing here uses more than PCG64's raw bits and exact arithmetic.

Every tensor has its own stream, seeded by the model's seed and the tensor's name, so that order and presence of tensors do not matter.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """heads × head_size is the width C; ranks: of w, a, v, g. first_value: whether block 0 has the v0, v1, v2 that it does not use."""

    layers: int
    heads: int
    ranks: tuple[int, int, int, int]
    vocab: int = 256
    head_size: int = 64
    first_value: bool = True
    seed: int = 0

    @property
    def embd(self) -> int:
        return self.heads * self.head_size


class Source:
    """Random arrays, each determined by the seed and its name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def raw(self, name: str, count: int) -> NDArray[np.uint64]:
        return np.random.PCG64([self.seed, zlib.crc32(name.encode())]).random_raw(count)

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> F32:
        unit = (self.raw(name, math.prod(shape)) >> np.uint64(11)) * 2.0**-53
        return (low + unit * (high - low)).astype(np.float32).reshape(shape)

    def normal(self, name: str, *shape: int, scale: float = 1.0) -> F32:
        """Nearly normal, by adding four uniform numbers: needs no logarithm, which is not the same everywhere."""
        parts = self.raw(name, math.prod(shape)).astype("<u8").view("<u2").reshape(-1, 4)
        centred = parts.sum(1, dtype=np.int64) - 2 * 65535
        return (centred * (scale * math.sqrt(3) / 65536)).astype(np.float32).reshape(shape)

    def tokens(self, count: int, vocab: int) -> list[int]:
        """Token ids; the first is 0 and the last the largest there is."""
        drawn = [int(bits) % vocab for bits in self.raw("tokens", count)]
        return [0, *drawn[1:-1], vocab - 1]


def make(shape: Shape) -> dict[str, F32]:
    """{official name: f32 array}, with values as large as those of trained models."""
    s, C, H, N = Source(shape.seed), shape.embd, shape.heads, shape.head_size
    d: dict[str, F32] = {}

    def normal(name: str, *dims: int, scale: float) -> None:
        d[name] = s.normal(name, *dims, scale=scale)

    def uniform(name: str, *dims: int, low: float, high: float) -> None:
        d[name] = s.uniform(name, *dims, low=low, high=high)

    def linear(name: str, outputs: int, inputs: int, gain: float) -> None:
        normal(name, outputs, inputs, scale=gain / math.sqrt(inputs))

    def norm(name: str, low: float, high: float) -> None:
        uniform(f"{name}.weight", C, low=low, high=high)
        normal(f"{name}.bias", C, scale=0.1)

    normal("emb.weight", shape.vocab, C, scale=0.3)
    for layer in range(shape.layers):
        block = f"blocks.{layer}."
        for ln in ["ln0", "ln1", "ln2"] if layer == 0 else ["ln1", "ln2"]:
            norm(block + ln, 0.6, 1.4)
        att = block + "att."
        for name in "rwkvag":
            uniform(f"{att}x_{name}", 1, 1, C, low=0, high=1)
        uniform(f"{att}w0", 1, 1, C, low=-6, high=-1)
        for name, rank, gain in zip("wavg", shape.ranks, (0.5, 0.5, 0.5, 0.8), strict=True):
            if name == "v" and layer == 0 and not shape.first_value:
                continue
            if name in "av":
                normal(f"{att}{name}0", 1, 1, C, scale=0.5)
            normal(f"{att}{name}1", C, rank, scale=0.5 / math.sqrt(C))
            normal(f"{att}{name}2", rank, C, scale=gain / math.sqrt(rank))
        uniform(f"{att}k_k", 1, 1, C, low=0.5, high=1.1)
        uniform(f"{att}k_a", 1, 1, C, low=0.7, high=1.2)
        normal(f"{att}r_k", H, N, scale=0.2)
        for name, gain in {"receptance": 0.7, "key": 0.7, "value": 0.7, "output": 0.5}.items():
            linear(f"{att}{name}.weight", C, C, gain)
        norm(f"{att}ln_x", 0.3, 1.1)
        uniform(f"{block}ffn.x_k", 1, 1, C, low=0, high=1)
        linear(f"{block}ffn.key.weight", 4 * C, C, 0.7)
        linear(f"{block}ffn.value.weight", C, 4 * C, 0.5)
    norm("ln_out", 0.8, 1.6)
    linear("head.weight", shape.vocab, C, 1.5)
    return d
