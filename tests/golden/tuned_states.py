"""The golden cases of state-tuned files: models with small heads that start from a random `time_state` [head, value, key], as training scripts store it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from golden.cases import HERE, checksum
from golden.older_cases import SHAPES as OLDER
from golden.older_model import OlderShape, make_older
from golden.random_model import F32, Shape, Source, make

MODELS: dict[str, Shape | OlderShape] = {
    "5.2": OLDER["v5.2_small_heads"],
    "6": OLDER["v6_small_heads"],
    "7": Shape(3, 5, (8, 8, 8, 16), vocab=97, head_size=8, seed=70),
}
LENGTH = 6


@dataclass(frozen=True)
class TunedCase:
    """weights and trained: {official name: f32}; logits [T, V] at every position, as the `rwkv` package computes them from that state."""

    weights: dict[str, F32]
    trained: dict[str, F32]
    tokens: list[int]
    logits: F32


def model(version: str) -> tuple[dict[str, F32], dict[str, F32], list[int]]:
    """Weights, trained states, and tokens."""
    shape = MODELS[version]
    source = Source(shape.seed + 1000)
    states = {f"blocks.{i}.att.time_state": (shape.heads, shape.head_size, shape.head_size) for i in range(shape.layers)}
    weights = make(shape) if isinstance(shape, Shape) else make_older(shape)
    return weights, {name: source.normal(name, *dims, scale=0.5) for name, dims in states.items()}, source.tokens(LENGTH, shape.vocab)


def load_tuned(version: str) -> TunedCase:
    """One of MODELS. RuntimeError if its random weights are not those that the file was made with."""
    weights, trained, tokens = model(version)
    with np.load(HERE / "tuned_states.npz") as stored:
        if int(stored[f"checksum_{version}"]) != checksum(weights | trained):
            raise RuntimeError(f"golden case {version}: the random weights changed; see tests/golden/README.md")
        return TunedCase(weights, trained, tokens, stored[f"logits_{version}"])
