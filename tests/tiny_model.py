"""A random RWKV-7 checkpoint, small enough to convert in every test."""

from __future__ import annotations

import numpy as np

from py_rwkv.models.config import Config, tensors

CONFIG = Config("7", layers=2, embd=20, heads=5, head_size=4, ffn=72, vocab=40, ranks={"w": 6, "a": 5, "v": 3, "g": 9})


def weights(config: Config = CONFIG, seed: int = 0, dtype: str = "<f4") -> dict[str, np.ndarray]:
    """{official name: array} with vectors as [1, 1, C] where official files have them so."""
    rng = np.random.default_rng(seed)
    made = {name: rng.standard_normal(shape).astype(dtype) for name, shape, _, _ in tensors(config)}
    return {name: w[None, None] if ".x_" in name or name[-2:] in ("w0", "a0", "v0") else w for name, w in made.items()}
