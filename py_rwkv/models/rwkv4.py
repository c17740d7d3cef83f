"""RWKV-4 (arXiv 2305.13048) as a list of kernel calls: 7 dispatches a layer.

Shapes and names as in rwkv7.py; `time_maa` = 1 − the official `time_mix` (docs/architecture.md, the packed model).
"""

from __future__ import annotations

from py_rwkv.kernels.activation import NONE, SIGMOID
from py_rwkv.kernels.weights import padded
from py_rwkv.models.builder import Builder
from py_rwkv.models.common import Piece, channel_mix, model, output, project, shift, width
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

SOURCES = "rkv"  # the interpolations, and the order of a projected row
MATRICES = ("receptance", "key", "value")


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a V4 model; ids ≥ vocab_limit are never candidates."""
    return model(p, config, layer, vocab_limit)


def layer(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += time mix, x += channel mix."""
    mixed = p.scratch("mixed", len(SOURCES), p.program.max_rows, config.embd)
    time_mix(p, config, i, x, mixed)
    channel_mix(p, config, i, x, mixed)


def time_mix(p: Builder, config: Config, i: int, x: Buffer, mixed: Buffer) -> None:
    """x += W_o (σ(r) ⊙ wkv(k, v)): an average of the values, weighted by their keys and by a decay per channel."""
    rows, c, att, name = p.program.max_rows, config.embd, f"blocks.{i}.att.", f"layer.{i}.att"
    shift(p, config, i, "att", SOURCES, x, mixed)

    p.point = f"layer.{i}.att.project"
    acts = (SIGMOID, NONE, NONE)
    pieces = [Piece(SOURCES[s], f"{att}{m}.weight", s, c, act) for s, (m, act) in enumerate(zip(MATRICES, acts, strict=True))]
    projected = project(p, att, pieces, mixed, p.scratch("projected", rows, width(pieces)))

    p.point = f"layer.{i}.att.wkv"
    vectors = p.vectors(att + "vectors", [att + "time_decay", att + "time_first"], c)
    fused = not p.wants(f"{name}.wkv")
    constants = {"C": c, "WIDTH": projected.shape[1], "SEGMENT": padded(c), "GATED": int(fused), "WG": 16}
    y = p.call("wkv4", constants, [projected, vectors, p.state(f"{i}.wkv", 3, c), p.scratch("y", rows, c)])
    if not fused:
        y = p.combine(p.value(f"{name}.wkv", y), p.scratch("gated", rows, c), gate=projected)
    output(p, config, i, p.value(f"{name}.gated", y), x)
