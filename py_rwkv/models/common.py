"""What the versions share: the frame around the layers, stacked projections, and the channel mix of V4 to V6."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import gcd
from typing import NamedTuple

from py_rwkv.kernels.activation import NONE, RELU2, SIGMOID
from py_rwkv.kernels.weights import padded
from py_rwkv.models.builder import Builder, Matrix
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

Layer = Callable[[Builder, Config, int, Buffer], None]  # adds one layer's calls, which add to x


class Piece(NamedTuple):
    """One of the matrices that `project` stacks: its point, the input it reads, by its place among the mixed ones, and the activation that follows."""

    point: str  # after "layer.N.att." or "layer.N.ffn."
    tensor: str
    source: int
    rows: int
    act: int = NONE


def model(p: Builder, config: Config, layer: Layer, vocab_limit: int) -> Program:
    """tokens → x → layers → logits of the output rows → their best candidates. ids ≥ vocab_limit are never candidates."""
    rows, outputs, c = p.program.max_rows, p.program.max_outputs, config.embd
    p.point = "embed"
    x = p.value("embed", p.embed("emb.weight", p.scratch("x", rows, c), c))
    for i in range(config.layers):
        layer(p, config, i, x)
        p.value(f"layer.{i}.output", x)
    p.point = "head.norm"
    final = p.layer_norm(x, p.vectors("ln_out", ["ln_out.weight", "ln_out.bias"], c), p.scratch("final", outputs, c), per="outputs")
    p.value("head.norm", final, count="outputs")
    p.point = "head"
    logits = p.scratch("logits", outputs, config.vocab, role="output")
    p.value("head", p.head("head.weight", final, logits), count="outputs")
    p.point = "head.topk"
    p.topk(logits, config.vocab, min(vocab_limit, config.vocab))
    return p.program


def norm(p: Builder, i: int, name: str, channels: int) -> Buffer:
    """Gain and bias of a LayerNorm: [2, C]."""
    return p.vectors(f"blocks.{i}.{name}", [f"blocks.{i}.{name}.weight", f"blocks.{i}.{name}.bias"], channels)


def shift(
    p: Builder, config: Config, i: int, block: str, sources: str, x: Buffer, mixed: Buffer, *, maa: str = "time_maa_", partly: bool = False
) -> Buffer:
    """What the time mix ("att") and the channel mix ("ffn") start with: LN, token shift, an interpolation per source: `mixed` [sources, rows, C].

    maa: how the tensors with their weights are named. partly (V6): the differences follow the sources, which are not final yet.
    """
    c, att = config.embd, f"blocks.{i}.{block}."
    name = f"layer.{i}.{block}"
    p.point = f"{name}.mix"
    mu = p.vectors(att + "mu", [f"{att}{maa}{s}" for s in sources], c)
    gain, prev = norm(p, i, {"att": "ln1", "ffn": "ln2"}[block], c), p.state(f"{i}.{block}_prev", c)
    if normed := p.wants(f"{name}.ln"):
        x = p.value(f"{name}.ln", p.layer_norm(x, gain, p.scratch("ln", p.program.max_rows, c)))
    p.layer_mix(x, gain, mu, prev, mixed, keep=partly, normed=normed)
    if not partly:
        shifted(p, name, sources, mixed)
    return mixed


def shifted(p: Builder, name: str, sources: str, mixed: Buffer, first: int = 0) -> None:
    """The points of some interpolations, from plane `first` on."""
    for plane, source in enumerate(sources, start=first):
        p.value(f"{name}.shift.{source}", mixed, plane=plane)


def output(p: Builder, config: Config, i: int, gated: Buffer, x: Buffer) -> None:
    """x += W_o gated"""
    c, weight = config.embd, f"blocks.{i}.att.output.weight"
    p.point = f"layer.{i}.att.output"
    add(p, f"layer.{i}.att.out", p.matrix(weight, [weight], c), gated, x)
    p.value(f"layer.{i}.middle", x)


def add(p: Builder, name: str, matrix: Matrix, y: Buffer, x: Buffer, *, gate: int | None = None) -> None:
    """x += W y, or gated by the columns of y from `gate` on. W y is the point `name`."""
    if not p.wants(name):
        p.matmul(matrix, y, x, add=True, gate=gate)
        return
    product = p.value(name, p.matmul(matrix, y, p.scratch("product", *x.shape)))
    p.combine(product, x, gate=None if gate is None else y, at=gate or 0, add=True)


def width(pieces: Sequence[Piece]) -> int:
    """Columns of a projected row: every piece starts at a multiple of 16."""
    return sum(padded(piece.rows) for piece in pieces)


def project(p: Builder, prefix: str, pieces: Sequence[Piece], mixed: Buffer, out: Buffer) -> Buffer:
    """All pieces in one dispatch: out [rows, width(pieces)]."""
    words = [word for piece in pieces for _ in range(padded(piece.rows) // 16) for word in (piece.source, piece.act)]
    table = Buffer(prefix + "table", (len(words) // 2, 2), "u32", "constant", data=array("I", words).tobytes())
    matrix = p.matrix(prefix + "project", [piece.tensor for piece in pieces], mixed.shape[-1], align=16)
    p.project(matrix, mixed, table, out, gcd(*(padded(piece.rows) for piece in pieces)))
    column = 0
    for piece in pieces:
        point = prefix.replace("blocks", "layer", 1) + piece.point
        p.value(point, out, columns=piece.rows, stride=width(pieces), first=column)
        column += padded(piece.rows)
    return out


def channel_mix(p: Builder, config: Config, i: int, x: Buffer, mixed: Buffer) -> None:
    """V4, V5, V6: x += σ(W_r x_r) ⊙ W_v relu(W_k x_k)²; `mixed`: scratch of at least two rows of inputs."""
    c, ffn = config.embd, f"blocks.{i}.ffn."
    shift(p, config, i, "ffn", "kr", x, mixed)
    p.point = f"layer.{i}.ffn.project"
    pieces = [Piece("key", ffn + "key.weight", 0, config.ffn, RELU2), Piece("receptance", ffn + "receptance.weight", 1, c, SIGMOID)]
    projected = project(p, ffn, pieces, mixed, p.scratch("ffn", p.program.max_rows, width(pieces)))
    p.point = f"layer.{i}.ffn.value"
    value = p.matrix(ffn + "value.weight", [ffn + "value.weight"], padded(config.ffn))
    add(p, f"layer.{i}.ffn.value", value, projected, x, gate=padded(config.ffn))
