"""The golden cases: random models (made again from their seed, never stored), tokens, and what the `rwkv` package computes for them (`*.npz`)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from golden.random_model import F32, Shape, Source, make
from numpy.typing import NDArray

HERE = Path(__file__).parent
STATES = ("att_prev", "wkv", "ffn_prev")


@dataclass(frozen=True)
class Spec:
    """A model, how many tokens it reads, and how many columns of the logits are kept (None: all)."""

    shape: Shape
    length: int = 16
    columns: int | None = None

    def tokens(self) -> list[int]:
        return Source(self.shape.seed).tokens(self.length, self.shape.vocab)


CASES = {
    "one_head": Spec(Shape(2, 1, (64, 64, 32, 128), first_value=False, seed=1)),
    "two_heads": Spec(Shape(2, 2, (24, 40, 20, 96), seed=2)),
    "three_heads": Spec(Shape(2, 3, (96, 96, 64, 480), seed=3)),
    "four_heads": Spec(Shape(2, 4, (32, 32, 32, 64), seed=4)),
    "small_heads": Spec(Shape(12, 8, (32, 32, 32, 32), head_size=8, first_value=False, seed=5)),
    "deep": Spec(Shape(12, 1, (32, 32, 32, 32), first_value=False, seed=6)),
    "long": Spec(Shape(2, 2, (24, 40, 20, 96), vocab=512, seed=7), length=200, columns=64),
    "pile": Spec(Shape(2, 1, (64, 64, 32, 128), vocab=50304, seed=8), length=12, columns=512),
    "world": Spec(Shape(2, 2, (64, 64, 32, 128), vocab=65536, seed=9), length=12, columns=512),
}


@dataclass(frozen=True)
class Case:
    """weights: {official name: f32}; expected of every position: the logits in some columns, log Σ exp and the argmax over all of them; the state at the end."""

    weights: dict[str, F32]
    tokens: list[int]
    columns: NDArray[np.int64]  # [K]
    logits: F32  # [T, K]
    logsumexp: F32  # [T]
    argmax: NDArray[np.int64]  # [T]
    state: dict[str, F32]  # att_prev [L, C], wkv [L, H, value, key], ffn_prev [L, C]

    def error(self, logits: NDArray[np.floating], positions: slice = slice(None)) -> float:
        """The largest error of `logits` [P, V], of the positions that the slice selects: in the kept columns, or in log Σ exp, which covers the rest."""
        wide = logits.astype(np.float64)
        columns = np.abs(wide[:, self.columns] - self.logits[positions]).max()
        return float(max(columns, np.abs(logsumexp(wide) - self.logsumexp[positions]).max()))


def logsumexp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """[T, V] → [T]."""
    top = logits.max(-1, keepdims=True)
    total: NDArray[np.float64] = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    return total


def checksum(weights: Mapping[str, F32]) -> int:
    """Of all values, bit by bit."""
    total = 0
    for w in weights.values():
        total = zlib.crc32(w.astype("<f4").tobytes(), total)
    return total


def load_case(name: str) -> Case:
    """One of CASES, with its weights. RuntimeError if they are not those that the file was made with."""
    spec = CASES[name]
    weights = make(spec.shape)
    with np.load(HERE / f"{name}.npz") as stored:
        if int(stored["checksum"]) != checksum(weights):
            raise RuntimeError(f"golden case {name}: the random weights changed; see tests/golden/README.md")
        numbers = {key: stored[key] for key in ("columns", "logits", "logsumexp", "argmax")}
        state = {key: stored[key] for key in STATES}
    return Case(weights, spec.tokens(), **numbers, state=state)
