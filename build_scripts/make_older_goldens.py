"""Makes tests/golden/v*.npz: what the official `rwkv` package computes for the V4 to V6 models of tests/golden/older_cases.py.

pip install torch==2.13.0 rwkv==0.8.32 numpy
PYTHONPATH=tests python build_scripts/make_older_goldens.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from golden.cases import HERE, checksum
from golden.older_cases import SHAPES, states, tokens_of
from golden.older_model import OlderShape, make_older
from golden.random_model import F32


def package(shape: OlderShape, weights: dict[str, F32]) -> dict[str, F32]:
    """The `rwkv` package in f32 on the CPU, token by token: logits [T, V] and the state, one axis of layers first."""
    import torch
    from rwkv.model import RWKV

    telling = sorted(weights, key=lambda name: "ln_x" not in name and "gate" not in name)  # the package must meet these before time_decay
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        torch.save({name: torch.from_numpy(weights[name]) for name in telling}, path.with_suffix(".pth"))
        net = RWKV(model=str(path), strategy="cpu fp32")
        state, logits = None, []
        for token in tokens_of(shape):
            row, state = net.forward([token], state)
            logits.append(row.float().numpy().copy())
    kinds = states(shape.version)
    layers = {kind: np.array([s.float().numpy() for s in (state or [])[i :: len(kinds)]]) for i, kind in enumerate(kinds)}
    return {"logits": np.array(logits), **layers}


def main() -> None:
    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0", RWKV_V7_ON="0")
    for name, shape in SHAPES.items():
        weights = make_older(shape)
        np.savez_compressed(HERE / f"{name}.npz", checksum=checksum(weights), **package(shape, weights))


if __name__ == "__main__":
    main()
