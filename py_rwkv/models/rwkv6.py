"""RWKV-6 ("Finch", arXiv 2404.05892) as a list of kernel calls: 10 dispatches a layer. V5 with a token shift and a decay that depend on the data.

Shapes and names as in rwkv7.py. The packed time_maa_w1 has five blocks of rows, each padded to a multiple of 16 (docs/architecture.md).
"""

from __future__ import annotations

from py_rwkv.kernels.activation import NONE, SILU, TANH
from py_rwkv.kernels.weights import padded
from py_rwkv.models.builder import Builder
from py_rwkv.models.common import Piece, channel_mix, model, output, project, shift, shifted, width
from py_rwkv.models.config import MIXES, Config
from py_rwkv.models.rwkv5 import wkv
from py_rwkv.program import Buffer, Program

SOURCES = "xwkvrg"  # the interpolations; the dynamic part goes to all but x, in this order


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a V6 model; ids ≥ vocab_limit are never candidates."""
    return model(p, config, layer, vocab_limit)


def layer(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += time mix, x += channel mix."""
    mixed = p.scratch("mixed", len(SOURCES) + 1, p.program.max_rows, config.embd)
    time_mix(p, config, i, x, mixed)
    channel_mix(p, config, i, x, mixed)


def time_mix(p: Builder, config: Config, i: int, x: Buffer, mixed: Buffer) -> None:
    """x += W_o (GN(wkv(r, k, v, w)) ⊙ silu(g)) with inputs and decay from low-rank functions of the data."""
    rows, c, low = p.program.max_rows, config.embd, padded(config.ranks["mix"])
    att, name = f"blocks.{i}.att.", f"layer.{i}.att"
    shift(p, config, i, "att", SOURCES, x, mixed, partly=True)  # h + (h₋₁ − h) maa for each source, then h₋₁ − h
    shifted(p, name, SOURCES[:1], mixed)

    p.point = f"layer.{i}.att.mix_down"  # reads the first source, x
    down = p.matrix(att + "time_maa_w1", [att + "time_maa_w1"], c)
    z = p.value(f"{name}.shift.low", p.matmul(down, mixed, p.scratch("z", rows, MIXES * low), act=TANH))

    p.point = f"layer.{i}.att.mix_up"
    up = p.matrix(att + "time_maa_w2", [att + "time_maa_w2"], low)
    p.call("wkv6_mix", p.tile(up, block=c) | {"C": c}, [up.weights, up.scales, z, mixed])
    shifted(p, name, SOURCES[1:], mixed, first=1)

    p.point = f"layer.{i}.att.project"
    matrices = {"r": "receptance", "k": "key", "v": "value", "g": "gate"}
    pieces = [Piece(s, f"{att}{m}.weight", SOURCES.index(s), c, SILU if s == "g" else NONE) for s, m in matrices.items()]
    pieces += [Piece("w.low", att + "time_decay_w1", SOURCES.index("w"), config.ranks["decay"], TANH)]
    projected = project(p, att, pieces, mixed, p.scratch("projected", rows, width(pieces)))

    p.point = f"layer.{i}.att.decay"
    up = p.matrix(att + "time_decay_w2", [att + "time_decay_w2"], padded(config.ranks["decay"]))
    bias = p.vectors(att + "time_decay", [att + "time_decay"], c)
    constants = p.tile(up) | {"WIDTH": projected.shape[1], "X_AT": 4 * padded(c)}
    decay = p.call("wkv6_decay", constants, [up.weights, up.scales, projected, bias, p.scratch("decay", rows, c)])
    p.value(f"{name}.decay", decay)

    p.point = f"layer.{i}.att.wkv"
    gated = wkv(p, config, i, projected, decay, dynamic=True, gate=True)
    output(p, config, i, gated, x)
