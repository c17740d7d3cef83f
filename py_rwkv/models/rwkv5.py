"""RWKV-5 ("Eagle", arXiv 2404.05892) as a list of kernel calls: 7 dispatches a layer. 5.0 has no gate; 5.0 and 5.1 have one decay per head.

Shapes and names as in rwkv7.py; `time_maa` = 1 − the official `time_mix`, `decay` = exp(−exp(time_decay)) and `time_faaaa` have a value per
channel in all three (docs/architecture.md, the packed model).
"""

from __future__ import annotations

from py_rwkv.kernels import wkv6
from py_rwkv.kernels.activation import NONE, SILU
from py_rwkv.kernels.weights import padded
from py_rwkv.models.builder import Builder
from py_rwkv.models.common import Piece, channel_mix, model, output, project, shift, width
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

SOURCES = {"r": "receptance", "k": "key", "v": "value", "g": "gate"}  # the interpolations, and the order of a projected row


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a V5 model; ids ≥ vocab_limit are never candidates."""
    return model(p, config, layer, vocab_limit)


def layer(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += time mix, x += channel mix."""
    mixed = p.scratch("mixed", len(SOURCES), p.program.max_rows, config.embd)
    time_mix(p, config, i, x, mixed)
    channel_mix(p, config, i, x, mixed)


def time_mix(p: Builder, config: Config, i: int, x: Buffer, mixed: Buffer) -> None:
    """x += W_o (GN(wkv(r, k, v)) ⊙ silu(g)): a matrix of state per head, decaying per channel."""
    c, att = config.embd, f"blocks.{i}.att."
    sources = "rkv" if config.version == "5.0" else "rkvg"
    shift(p, config, i, "att", sources, x, mixed)

    p.point = f"layer.{i}.att.project"
    pieces = [Piece(s, f"{att}{SOURCES[s]}.weight", at, c, SILU if s == "g" else NONE) for at, s in enumerate(sources)]
    projected = project(p, att, pieces, mixed, p.scratch("projected", p.program.max_rows, width(pieces)))

    p.point = f"layer.{i}.att.wkv"
    gated = wkv(p, config, i, projected, p.vectors(att + "decay", [att + "decay"], c), dynamic=False, gate="g" in sources)
    output(p, config, i, gated, x)


def wkv(p: Builder, config: Config, i: int, projected: Buffer, decay: Buffer, *, dynamic: bool, gate: bool) -> Buffer:
    """The recurrence with its group norm and gate: [rows, C]. V6 uses it too, with `dynamic` decays [rows, C]."""
    rows, c, n, att = p.program.max_rows, config.embd, config.head_size, f"blocks.{i}.att."
    vectors = p.vectors(att + "vectors", [att + v for v in ("time_faaaa", "ln_x.weight", "ln_x.bias")], c)
    lanes = 1 if p.tuning.reduce == "one" else 16
    shape = wkv6.sizes(c, n, dynamic=dynamic, gated=gate, lanes=lanes, share=p.tuning.share)
    constants = shape | {"WIDTH": projected.shape[1], "EPS": config.group_norm_eps}
    y, gated, name = p.scratch("y", rows, c), p.scratch("gated", rows, c), f"layer.{i}.att"
    p.call("wkv6", constants, [projected, decay, vectors, p.state(f"{i}.wkv", config.heads, n, n), y, gated])
    if p.wants(f"{name}.wkv", f"{name}.norm"):  # the same once more, step by step
        p.value(f"{name}.wkv", y)
        normed = p.value(f"{name}.norm", p.group_norm(y, vectors, p.scratch("normed", rows, c), n, config.group_norm_eps))
        gated = p.combine(normed, gated, gate=projected, at=3 * padded(c)) if gate else normed
    return p.value(f"{name}.gated", gated)
