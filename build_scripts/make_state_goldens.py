"""Makes tests/golden/tuned_states.npz: what the official `rwkv` package computes from a tuned initial state (models of tests/golden/tuned_states.py).

    pip install torch==2.13.0 rwkv==0.8.32 numpy
    for version in 5.2 6 7; do PYTHONPATH=tests python build_scripts/make_state_goldens.py $version; done

One version at a time: the package chooses between V7 and the others when it is imported. The state goes in as its chat demo does it: transposed for
V5 and V6, as it is for V7.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from golden.cases import HERE, checksum
from golden.random_model import F32
from golden.tuned_states import model

FILE = HERE / "tuned_states.npz"


def package(version: str, weights: dict[str, F32], trained: dict[str, F32], tokens: list[int]) -> F32:
    """Logits [T, V] in f32 on the CPU, token by token."""
    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0", RWKV_V7_ON=str(int(version == "7")))
    import torch
    from rwkv.model import RWKV

    telling = sorted(weights, key=lambda name: "ln_x" not in name and "gate" not in name)  # the package must meet these before time_decay
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        torch.save({name: torch.from_numpy(weights[name]) for name in telling}, path.with_suffix(".pth"))
        net = RWKV(model=str(path), strategy="cpu fp32")
        _, state = net.forward([0], None)
        for i, own in enumerate(state):
            start = torch.zeros_like(own)
            if i % 3 == 1:
                values = torch.from_numpy(trained[f"blocks.{i // 3}.att.time_state"])
                start = (values if version == "7" else values.transpose(1, 2)).contiguous()
            assert start.shape == own.shape
            state[i] = start
        logits = []
        for token in tokens:
            row, state = net.forward([token], state)
            logits.append(row.float().numpy().copy())
    return np.array(logits)


def main() -> None:
    version = sys.argv[1]
    weights, trained, tokens = model(version)
    stored = dict(np.load(FILE)) if FILE.exists() else {}
    stored |= {
        f"logits_{version}": package(version, weights, trained, tokens),
        f"checksum_{version}": np.array(checksum(weights | trained)),
    }
    np.savez_compressed(FILE, **stored)


if __name__ == "__main__":
    main()
