"""RWKV-7 ("Goose", arXiv 2503.14456) as a list of kernel calls: 8 dispatches a layer when it decodes.

Shapes: T rows, C channels, H heads of N, F ffn channels, V vocabulary. Tensor names are the official ones; `packed` ones as in docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.activation import NONE, RELU2, SIGMOID, TANH
from py_rwkv.kernels.weights import padded
from py_rwkv.kernels.wkv7_inputs import GATES, offsets
from py_rwkv.models.builder import Builder
from py_rwkv.models.common import Piece, add, model, output, project, shift
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

VECTORS = "w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias".split()  # the rows of `att.vectors`, as wkv7_inputs and wkv7_gate read them
SOURCES = "rkvwag"  # the interpolations x_r … x_g, in the order of `mixed`
MATRICES = {"r": "receptance", "key": "key", "value": "value"}  # point → tensor; the recurrence's k and v are made of key and value
ACTIVATION = {"w": TANH, "g": SIGMOID}
LOW = {"a": 1, "v_mix": 2, "kk": 3}  # what wkv7_inputs keeps to itself, and its place in what wkv7_low makes
INPUTS = {"decay": 0, "k": 1, "v": 2, "b": 4, "g": 5}  # points of `inputs`; 3 is −kk


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a V7 model; ids ≥ vocab_limit are never candidates."""
    return model(p, config, layer, vocab_limit)


def layer(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += time mix, x += channel mix."""
    time_mix(p, config, i, x)
    channel_mix(p, config, i, x)


def time_mix(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += W_o · gate(GN(wkv7(…))): data-dependent decay, in-context learning rate, value residual."""
    rows, c, n, att, name = p.program.max_rows, config.embd, config.head_size, f"blocks.{i}.att.", f"layer.{i}.att"
    ranks = {g: r for g, r in config.ranks.items() if i > 0 or g != "v"}  # layer 0 defines v_first: no value residual there
    at, width = offsets(c, ranks), offsets(c, config.ranks)["WIDTH"]

    mixed = shift(p, config, i, "att", SOURCES, x, p.scratch("mixed", len(SOURCES), rows, c), maa="x_")

    p.point = f"layer.{i}.att.project"
    down = [g for g in GATES if g in ranks]
    pieces = [Piece(point, f"{att}{m}.weight", s, c) for s, (point, m) in enumerate(MATRICES.items())]
    pieces += [Piece(f"{g}.low", f"{att}{g}1", SOURCES.index(g), ranks[g], ACTIVATION.get(g, NONE)) for g in down]
    projected = project(p, att, pieces, mixed, p.scratch("projected", rows, width))

    p.point = f"layer.{i}.att.inputs"
    vectors = p.vectors(att + "vectors", [att + v for v in VECTORS], c)
    up = p.stack(att + "up", [(f"{att}{g}2", ranks[g]) for g in down])
    v_first, inputs = p.scratch("v_first", rows, c), p.scratch("inputs", rows, 6, c)
    constants: dict[str, Any] = {
        "C": c,
        "N": n,
        "FIRST": int(i == 0),
        "WG": 16,
        "encoding": up.weights.encoding,
        "held": up.weights.held,
    } | at
    form = p.form(n)
    many = form["share"] != "1" and not form["tile"].endswith("x1")  # rows: then each decoded weight should serve several
    if many or p.wants(*(f"{name}.{v}" for v in LOW)):  # the same in two steps
        tile = {"tile": "4x4"} if many else {}  # K is short: a larger tile would only take longer to compile
        low = p.call("wkv7_low", constants | form | tile, [up.weights, up.scales, projected, vectors, p.scratch("low", rows, 5, c)])
        for v, j in LOW.items():
            if v != "v_mix" or i > 0:
                p.value(f"{name}.{v}", low, columns=c, stride=5 * c, first=j * c)
        p.call("wkv7_join", constants, [projected, vectors, low, v_first, inputs])
    else:
        p.call("wkv7_inputs", constants, [up.weights, up.scales, projected, vectors, v_first, inputs])
    for v, j in INPUTS.items():
        p.value(f"{name}.{v}", inputs, columns=c, stride=6 * c, first=j * c)

    p.point = f"layer.{i}.att.wkv"
    state, gated = p.state(f"{i}.wkv", config.heads, n, n), p.scratch("gated", rows, c)
    constants = {"C": c, "N": n, "H": config.heads, "WIDTH": at["WIDTH"], "EPS": config.group_norm_eps}
    if p.tuning.whole_heads and n <= 128 and not p.wants(f"{name}.wkv"):
        p.call("wkv7_head", constants | {"WG": 4, "reduce": p.tuning.reduce}, [projected, inputs, vectors, state, gated])
    else:  # the same in two steps
        # Not for subgroups of 4: SwiftShader compiles it for 0.5 s to gain 4 ms a layer and 32 rows.
        share = "8" if form["share"] == "8" and n == 64 else "1"
        flavour = {"ROWS": min(p.tuning.wkv_rows, n) if share == "1" else 1, "WG": 16, "share": share}
        y = p.call("wkv7", constants | flavour, [projected, inputs, state, p.scratch("y", rows, c)])
        p.value(f"{name}.wkv", y)
        p.point = f"layer.{i}.att.gate"
        per = 16 if n % 16 == 0 else 4 if n % 4 == 0 else 1
        p.call("wkv7_gate", constants | {"PER": per, "WG": 16}, [projected, inputs, vectors, y, gated])
    output(p, config, i, p.value(f"{name}.gated", gated), x)


def channel_mix(p: Builder, config: Config, i: int, x: Buffer) -> None:
    """x += W_v relu(W_k (h + (h₋₁ − h) x_k))²"""
    rows, c, ffn, width = p.program.max_rows, config.embd, f"blocks.{i}.ffn.", padded(config.ffn)
    mixed = shift(p, config, i, "ffn", "k", x, p.scratch("mixed", len(SOURCES), rows, c), maa="x_")
    p.point = f"layer.{i}.ffn.key"
    k = p.matmul(p.matrix(ffn + "key.weight", [ffn + "key.weight"], c), mixed, p.scratch("ffn", rows, width), act=RELU2, stride=width)
    p.value(f"layer.{i}.ffn.key", k, columns=config.ffn)
    p.point = f"layer.{i}.ffn.value"
    add(p, f"layer.{i}.ffn.value", p.matrix(ffn + "value.weight", [ffn + "value.weight"], config.ffn), k, x)
