"""Random RWKV-4, 5.0, 5.1, 5.2 and 6 checkpoints under official names, the same on every machine (see random_model.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from golden.random_model import F32, Source


@dataclass(frozen=True)
class OlderShape:
    """heads × head_size is the width C; ranks: of V6's mixes and decay."""

    version: str
    layers: int
    heads: int
    head_size: int = 64
    ffn: int = 256
    vocab: int = 256
    ranks: tuple[int, int] = (32, 64)
    seed: int = 0

    @property
    def embd(self) -> int:
        return self.heads * self.head_size


def make_older(shape: OlderShape) -> dict[str, F32]:
    """{official name: f32 array}, with values as large as those of trained models."""
    s, C, F, H, N, version = Source(shape.seed), shape.embd, shape.ffn, shape.heads, shape.head_size, shape.version
    d: dict[str, F32] = {}

    def normal(name: str, *dims: int, scale: float) -> None:
        d[name] = s.normal(name, *dims, scale=scale)

    def uniform(name: str, *dims: int, low: float = 0, high: float = 1) -> None:
        d[name] = s.uniform(name, *dims, low=low, high=high)

    def linear(name: str, outputs: int, inputs: int, gain: float) -> None:
        normal(name, outputs, inputs, scale=gain / math.sqrt(inputs))

    def norm(name: str, low: float, high: float) -> None:
        uniform(f"{name}.weight", C, low=low, high=high)
        normal(f"{name}.bias", C, scale=0.1)

    def time_mix6(att: str) -> None:
        mix, decay = shape.ranks
        for name in "xwkvrg":
            uniform(f"{att}time_maa_{name}", 1, 1, C)
        normal(f"{att}time_maa_w1", C, 5 * mix, scale=0.5 / math.sqrt(C))
        normal(f"{att}time_maa_w2", 5, mix, C, scale=0.5 / math.sqrt(mix))
        uniform(f"{att}time_decay", 1, 1, C, low=-6, high=-0.5)
        normal(f"{att}time_decay_w1", C, decay, scale=0.5 / math.sqrt(C))
        normal(f"{att}time_decay_w2", decay, C, scale=0.5 / math.sqrt(decay))
        normal(f"{att}time_faaaa", H, N, scale=0.3)

    def time_mix5(att: str) -> None:
        for name in "kvr" if version == "5.0" else "kvrg":
            uniform(f"{att}time_mix_{name}", 1, 1, C)
        per_head = (H, N) if version == "5.2" else (H,)
        uniform(f"{att}time_decay", *per_head, low=-5, high=-0.5)
        normal(att + ("time_first" if version == "5.0" else "time_faaaa"), *per_head, scale=0.3)

    def time_mix4(att: str) -> None:
        for name in "kvr":
            uniform(f"{att}time_mix_{name}", 1, 1, C)
        uniform(f"{att}time_decay", C, low=-5, high=2)
        normal(f"{att}time_first", C, scale=0.5)

    normal("emb.weight", shape.vocab, C, scale=0.3)
    for layer in range(shape.layers):
        att, ffn = f"blocks.{layer}.att.", f"blocks.{layer}.ffn."
        for ln in ["ln0", "ln1", "ln2"] if layer == 0 else ["ln1", "ln2"]:
            norm(f"blocks.{layer}.{ln}", 0.6, 1.4)
        {"4": time_mix4, "5": time_mix5, "6": time_mix6}[version[0]](att)
        gains = {"receptance": 0.7, "key": 0.7, "value": 0.7, "output": 0.5, "gate": 0.7}
        if version in ("4", "5.0"):
            del gains["gate"]
        for name, gain in gains.items():
            linear(f"{att}{name}.weight", C, C, gain * (4 if name == "key" and version == "4" else 1))
        if version != "4":
            norm(f"{att}ln_x", 0.3, 1.1)
        for name in "kr":
            uniform(f"{ffn}time_{'maa' if version == '6' else 'mix'}_{name}", 1, 1, C)
        linear(f"{ffn}key.weight", F, C, 0.7)
        linear(f"{ffn}value.weight", C, F, 0.5)
        linear(f"{ffn}receptance.weight", C, C, 0.7)
    norm("ln_out", 0.8, 1.6)
    linear("head.weight", shape.vocab, C, 1.5)
    return d
