"""Trains the demo model and writes it as an official-format checkpoint.

python -m build_scripts.demo_model.train rwkv7-demo.pth --seconds 5000
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from build_scripts.demo_model import export
from build_scripts.demo_model.batches import ANSWER, Batches
from build_scripts.demo_model.model import Rwkv7, Shape
from py_rwkv.tokenizer import tokenizer_for

LEARNING_RATE, WARM_UP, FLOOR, DECAY, CLIP = 1.6e-3, 60, 0.03, 0.05, 1.0


def optimizer(net: Rwkv7) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, and not on the embedding."""
    matrices = [w for name, w in net.named_parameters() if w.squeeze().ndim >= 2 and name != "emb.weight"]
    others = [w for name, w in net.named_parameters() if w.squeeze().ndim < 2 or name == "emb.weight"]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), eps=1e-9)


def learning_rate(step: int, progress: float) -> float:
    """Linear warm-up, then a cosine down to FLOOR; progress 0..1 is the share of the time that is over."""
    return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))


def losses(net: Rwkv7, tokens: Tensor, weights: Tensor, bf16: bool = True) -> tuple[Tensor, float]:
    """(weighted mean loss, mean loss of the answers alone). Nothing is learnt from having to predict an unknown word."""
    targets, weights = tokens[:, 1:], weights[:, 1:]
    unknown = net.head.out_features - 1
    weights = weights * (targets != unknown)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        scores = net(tokens[:, :-1])
    each = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    answers = weights == ANSWER
    return (each * weights).sum() / weights.sum(), ((each * answers).sum() / answers.sum()).item()


def train(path: Path, seconds: float, threads: int, bf16: bool) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape, batches = Shape(), Batches(tokenizer_for("world").encode)
    known = batches.known
    net = Rwkv7(shape, len(known))
    print(f"{len(known)} tokens, {sum(w.numel() for w in net.parameters()) / 1e6:.2f} million parameters", flush=True)
    optimize, average = optimizer(net), math.nan
    start, step = time.monotonic(), 0
    while (progress := (time.monotonic() - start) / seconds) < 1:
        for group in optimize.param_groups:
            group["lr"] = learning_rate(step, progress)
        tokens, weights = map(torch.from_numpy, batches.next())
        loss, answers = losses(net, tokens, weights, bf16)
        optimize.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimize.step()
        average = answers if step == 0 else 0.97 * average + 0.03 * answers
        step += 1
        if step % 25 == 0:
            elapsed = time.monotonic() - start
            speed = step * batches.rows * batches.length / elapsed
            print(f"step {step}  {elapsed:.0f} s  loss {loss.item():.3f}  answers {average:.4f}  {speed:.0f} tokens/s", flush=True)
        if step % 400 == 0:
            export.save(net, known, shape.vocab, path)
    export.save(net, known, shape.vocab, path)
    print(f"{path}: {step} steps, answers {average:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seconds", type=float, default=5000, help="the schedule follows the clock: the longer, the better (5000)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--f32", action="store_true", help="no bf16: twice as fast on a CPU that has no instructions for it (AVX512-BF16, AMX)"
    )
    options = parser.parse_args()
    train(options.path, options.seconds, options.threads, not options.f32)
