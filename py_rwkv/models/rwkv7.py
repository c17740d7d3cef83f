"""RWKV-7 ("Goose", arXiv 2503.14456) as a list of kernel calls: 9 dispatches a layer.

Shapes: T rows, C channels, H heads of N, F ffn channels, V vocabulary. Tensor names are the official ones; `packed` ones as in docs/architecture.md.
"""

from __future__ import annotations

from array import array
from typing import Any

from py_rwkv.kernels.activation import NONE, RELU2, SIGMOID, TANH
from py_rwkv.kernels.weights import padded
from py_rwkv.kernels.wkv7_inputs import GATES, offsets
from py_rwkv.models.builder import Builder
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

VECTORS = "w0 a0 v0 k_k k_a r_k ln_x.weight ln_x.bias".split()  # the rows of `att.vectors`, as wkv7_inputs and wkv7_gate read them
SOURCES = "rkvwag"  # the interpolations x_r … x_g, in the order of `mixed`
ACTIVATION = {"w": TANH, "g": SIGMOID}


def program(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """tokens → x → layers → logits of the output rows → their best candidates. ids ≥ vocab_limit are never candidates."""
    rows, outputs, c = p.program.max_rows, p.program.max_outputs, config.embd
    p.point = "embed"
    x = p.embed("emb.weight", p.scratch("x", rows, c), c)
    for i in range(config.layers):
        time_mix(p, config, i, x)
        channel_mix(p, config, i, x)
    p.point = "head.norm"
    final = p.layer_norm(x, p.vectors("ln_out", ["ln_out.weight", "ln_out.bias"], c), p.scratch("final", outputs, c))
    p.point = "head"
    logits = p.scratch("logits", outputs, config.vocab, role="output")
    for first, slab in p.slabs("head.weight", c):
        p.matmul(slab, final, logits, per="outputs", stride=config.vocab, at=first)
    p.point = "head.topk"
    p.topk(logits, config.vocab, min(vocab_limit, config.vocab))
    return p.program


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
    names = [att + m + ".weight" for m in ("receptance", "key", "value")] + [f"{att}{g}1" for g in down]
    tiles = [(SOURCES.index(s), NONE, c) for s in "rkv"] + [(SOURCES.index(g), ACTIVATION.get(g, NONE), ranks[g]) for g in down]
    segments = array("I", [word for source, act, size in tiles for _ in range(padded(size) // 16) for word in (source, act)])
    table = Buffer(att + "table", (len(segments) // 2, 2), "u32", "constant", data=segments.tobytes())
    projected = p.project(p.matrix(att + "project", names, c, align=16), mixed, table, p.scratch("projected", rows, width))

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


def norm(p: Builder, i: int, name: str, channels: int) -> Buffer:
    """Gain and bias of a LayerNorm: [2, C]."""
    return p.vectors(f"blocks.{i}.{name}", [f"blocks.{i}.{name}.weight", f"blocks.{i}.{name}.bias"], channels)
