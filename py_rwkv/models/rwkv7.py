"""RWKV-7 ("Goose", arXiv 2503.14456) as a list of kernel calls: 9 dispatches a layer.

Shapes: T rows, C channels, H heads of N, F ffn channels, V vocabulary. Tensor names are the official ones; `packed` ones as in docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.activation import NONE, RELU2, SIGMOID, TANH
from py_rwkv.kernels.wkv7_inputs import GATES, offsets
from py_rwkv.models.builder import Builder
from py_rwkv.models.common import Piece, model, norm, project
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

VECTORS = "w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias".split()  # the rows of `att.vectors`, as wkv7_inputs and wkv7_gate read them
SOURCES = "rkvwag"  # the interpolations x_r … x_g, in the order of `mixed`
ACTIVATION = {"w": TANH, "g": SIGMOID}


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a V7 model; ids ≥ vocab_limit are never candidates."""
    return model(p, config, layer, vocab_limit)


def layer(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += time mix, x += channel mix."""
    time_mix(p, config, i, x)
    channel_mix(p, config, i, x)


def time_mix(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += W_o · gate(GN(wkv7(…))): data-dependent decay, in-context learning rate, value residual."""
    rows, c, n, att = p.program.max_rows, config.embd, config.head_size, f"blocks.{i}.att."
    ranks = {g: r for g, r in config.ranks.items() if i > 0 or g != "v"}  # layer 0 defines v_first: no value residual there
    at, width = offsets(c, ranks), offsets(c, config.ranks)["WIDTH"]

    p.point = f"layer.{i}.att.mix"
    mu = p.vectors(att + "mu", [f"{att}x_{s}" for s in SOURCES], c)
    mixed = p.layer_mix(x, norm(p, i, "ln1", c), mu, p.state(f"{i}.att_prev", c), p.scratch("mixed", len(SOURCES), rows, c))

    p.point = f"layer.{i}.att.project"
    down = [g for g in GATES if g in ranks]
    pieces = [Piece(f"{att}{m}.weight", s, c) for s, m in enumerate(("receptance", "key", "value"))]
    pieces += [Piece(f"{att}{g}1", SOURCES.index(g), ranks[g], ACTIVATION.get(g, NONE)) for g in down]
    projected = project(p, att, pieces, mixed, p.scratch("projected", rows, width))

    p.point = f"layer.{i}.att.inputs"
    vectors = p.vectors(att + "vectors", [att + v for v in VECTORS], c)
    up = p.stack(att + "up", [(f"{att}{g}2", ranks[g]) for g in down])
    v_first, inputs = p.scratch("v_first", rows, c), p.scratch("inputs", rows, 6, c)
    constants: dict[str, Any] = {"C": c, "N": n, "FIRST": int(i == 0), "WG": 16, "encoding": up.weights.encoding} | at
    p.call("wkv7_inputs", constants, [up.weights, up.scales, projected, vectors, v_first, inputs])

    p.point = f"layer.{i}.att.wkv"
    share = min(p.tuning.wkv_rows, n)
    constants = {"C": c, "N": n, "H": config.heads, "WIDTH": at["WIDTH"], "ROWS": share, "WG": 16}
    s, y = p.state(f"{i}.wkv", config.heads, n, n), p.scratch("y", rows, c)
    p.call("wkv7", constants, [projected, inputs, s, y])

    p.point = f"layer.{i}.att.gate"
    per = 16 if n % 16 == 0 else 4 if n % 4 == 0 else 1
    constants = {"C": c, "N": n, "WIDTH": at["WIDTH"], "PER": per, "WG": 16, "EPS": config.group_norm_eps}
    gated = p.scratch("gated", rows, c)
    p.call("wkv7_gate", constants, [projected, inputs, vectors, y, gated])

    p.point = f"layer.{i}.att.output"
    p.matmul(p.matrix(att + "output.weight", [att + "output.weight"], c), gated, x, add=True)


def channel_mix(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += W_v relu(W_k (h + (h₋₁ − h) x_k))²"""
    rows, c, ffn = p.program.max_rows, config.embd, f"blocks.{i}.ffn."
    p.point = f"layer.{i}.ffn.mix"
    mu = p.vectors(ffn + "mu", [ffn + "x_k"], c)
    mixed = p.layer_mix(x, norm(p, i, "ln2", c), mu, p.state(f"{i}.ffn_prev", c), p.scratch("mixed", len(SOURCES), rows, c))
    p.point = f"layer.{i}.ffn.key"
    k = p.matmul(p.matrix(ffn + "key.weight", [ffn + "key.weight"], c), mixed, p.scratch("ffn", rows, config.ffn), act=RELU2)
    p.point = f"layer.{i}.ffn.value"
    p.matmul(p.matrix(ffn + "value.weight", [ffn + "value.weight"], config.ffn), k, x, add=True)
