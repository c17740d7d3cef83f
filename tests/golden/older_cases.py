"""The golden cases of V4 to V6, as cases.py has those of V7: one layer with heads of 64, and three with small heads, odd ranks and sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from golden.cases import HERE, checksum
from golden.older_model import OlderShape, make_older
from golden.random_model import F32, Source

LENGTH = 24
SHAPES = {
    f"v{version}_{name}": OlderShape(version, seed=10 * i + j, **sizes)
    for i, version in enumerate(("4", "5.0", "5.1", "5.2", "6"), start=1)
    for j, (name, sizes) in enumerate(
        {
            "heads_of_64": {"layers": 1, "heads": 2, "ffn": 448, "vocab": 300},
            "small_heads": {"layers": 3, "heads": 5, "head_size": 8, "ffn": 132, "vocab": 97, "ranks": (5, 20)},
        }.items()
    )
}


def states(version: str) -> tuple[str, ...]:
    """What the package keeps per layer, in its order; wkv is [L, H, key, value]."""
    return ("att_prev", "aa", "bb", "pp", "ffn_prev") if version == "4" else ("att_prev", "wkv", "ffn_prev")


def tokens_of(shape: OlderShape) -> list[int]:
    return Source(shape.seed).tokens(LENGTH, shape.vocab)


@dataclass(frozen=True)
class OlderCase:
    """weights: {official name: f32}; logits [T, V] at every position and the state at the end, as the `rwkv` package computes them."""

    shape: OlderShape
    weights: dict[str, F32]
    tokens: list[int]
    logits: F32
    state: dict[str, F32]  # one axis of layers before those of `states`


def load_older(name: str) -> OlderCase:
    """One of SHAPES. RuntimeError if its random weights are not those that the file was made with."""
    shape = SHAPES[name]
    weights = make_older(shape)
    with np.load(HERE / f"{name}.npz") as stored:
        if int(stored["checksum"]) != checksum(weights):
            raise RuntimeError(f"golden case {name}: the random weights changed; see tests/golden/README.md")
        return OlderCase(shape, weights, tokens_of(shape), stored["logits"], {key: stored[key] for key in states(shape.version)})
