"""The trained network → an official-format checkpoint, and the small form in which its weights can be handed on.

python -m build_scripts.demo_model.export pack   rwkv7-demo.pth rwkv7-demo.npz     # 13 MB: every distinct row once
python -m build_scripts.demo_model.export expand rwkv7-demo.npz rwkv7-demo.pth     # 78 MB: all 65536 rows, f16
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from build_scripts.demo_model.model import Rwkv7

TABLES = ("emb.weight", "head.weight")  # rows are tokens


def all_rows(known: Sequence[int], rows: Tensor, vocab: int) -> Tensor:
    """[known + 1, C] → [vocab, C]: the last row stands wherever a token is not known."""
    full = rows[-1].repeat(vocab, 1)
    full[torch.tensor(known)] = rows[:-1]
    return full


def save(net: Rwkv7, known: Sequence[int], vocab: int, path: Path) -> None:
    """Write the checkpoint: official names and shapes, f16."""
    weights = {name: w.detach().float() for name, w in net.state_dict().items()}
    for name in TABLES:
        weights[name] = all_rows(known, weights[name], vocab)
    torch.save({name: w.half() for name, w in weights.items()}, path)


def pack(source: Path, target: Path) -> None:
    """`.pth` → `.npz`. Token 65535 is never known: its row is the one all unknown tokens share."""
    weights = {name: w.numpy() for name, w in torch.load(source, map_location="cpu", weights_only=True, mmap=True).items()}
    known = np.flatnonzero((weights["head.weight"] != weights["head.weight"][-1]).any(1))
    for name in TABLES:
        rows = np.concatenate([known, [len(weights[name]) - 1]])
        others = np.delete(weights[name], rows, 0)
        if (others != weights[name][-1]).any():
            raise SystemExit(f"{source}: the unknown tokens' rows of {name} differ: not a demo model")
        weights[name] = weights[name][rows]
    np.savez_compressed(target, known=known.astype(np.uint16), **weights)


def expand(source: Path, target: Path) -> None:
    """`.npz` → `.pth`."""
    with np.load(source) as packed:
        weights = {name: torch.from_numpy(packed[name]) for name in packed.files if name != "known"}
        known = packed["known"].tolist()
    for name in TABLES:
        weights[name] = all_rows(known, weights[name], 65536)
    torch.save(weights, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=["pack", "expand"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    {"pack": pack, "expand": expand}[options.direction](options.source, options.target)
