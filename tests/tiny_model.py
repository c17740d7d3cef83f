"""Random checkpoints, small enough to convert in every test: V7, and one of every older version."""

from __future__ import annotations

import numpy as np

from py_rwkv.models.config import Config, tensors

CONFIG = Config("7", layers=2, embd=20, heads=5, head_size=4, ffn=72, vocab=40, ranks={"w": 6, "a": 5, "v": 3, "g": 9})
OLDER = {
    "4": Config("4", layers=2, embd=20, heads=1, head_size=20, ffn=72, vocab=40),
    "5.0": Config("5.0", layers=2, embd=20, heads=5, head_size=4, ffn=72, vocab=40),
    "5.1": Config("5.1", layers=1, embd=24, heads=3, head_size=8, ffn=70, vocab=41),
    "5.2": Config("5.2", layers=2, embd=20, heads=5, head_size=4, ffn=72, vocab=40),
    "6": Config("6", layers=2, embd=20, heads=5, head_size=4, ffn=72, vocab=40, ranks={"mix": 9, "decay": 7}),
}


def weights(config: Config = CONFIG, seed: int = 0, dtype: str = "<f4") -> dict[str, np.ndarray]:
    """{official name: array} with vectors as [1, 1, C] where official files have them so."""
    rng = np.random.default_rng(seed)
    made = {name: rng.standard_normal(shape).astype(dtype) for name, shape, _, _ in tensors(config)}
    return {name: w[None, None] if ".x_" in name or name[-2:] in ("w0", "a0", "v0") else w for name, w in made.items()}
