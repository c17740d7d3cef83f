"""What the versions share: the frame around the layers, stacked projections, and the channel mix of V4 to V6."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from py_rwkv.kernels.activation import NONE, RELU2, SIGMOID
from py_rwkv.kernels.weights import padded
from py_rwkv.models.builder import Builder
from py_rwkv.models.config import Config
from py_rwkv.program import Buffer, Program

Layer = Callable[[Builder, Config, int, Buffer], None]  # adds one layer's calls, which add to x


class Piece(NamedTuple):
    """One of the matrices that `project` stacks: the input it reads, by its place among the mixed ones, and the activation that follows."""

    tensor: str
    source: int
    rows: int
    act: int = NONE


def model(p: Builder, config: Config, layer: Layer, vocab_limit: int) -> Program:
    """tokens → x → layers → logits of the output rows → their best candidates. ids ≥ vocab_limit are never candidates."""
    rows, outputs, c = p.program.max_rows, p.program.max_outputs, config.embd
    p.point = "embed"
    x = p.embed("emb.weight", p.scratch("x", rows, c), c)
    for i in range(config.layers):
        layer(p, config, i, x)
    p.point = "head.norm"
    final = p.layer_norm(x, p.vectors("ln_out", ["ln_out.weight", "ln_out.bias"], c), p.scratch("final", outputs, c))
    p.point = "head"
    logits = p.scratch("logits", outputs, config.vocab, role="output")
    for first, slab in p.slabs("head.weight", c):
        p.matmul(slab, final, logits, per="outputs", stride=config.vocab, at=first)
    p.point = "head.topk"
    p.topk(logits, config.vocab, min(vocab_limit, config.vocab))
    return p.program


def norm(p: Builder, i: int, name: str, channels: int) -> Buffer:
    """Gain and bias of a LayerNorm: [2, C]."""
    return p.vectors(f"blocks.{i}.{name}", [f"blocks.{i}.{name}.weight", f"blocks.{i}.{name}.bias"], channels)


def width(pieces: Sequence[Piece]) -> int:
    """Columns of a projected row: every piece starts at a multiple of 16."""
    return sum(padded(piece.rows) for piece in pieces)


def project(p: Builder, prefix: str, pieces: Sequence[Piece], mixed: Buffer, out: Buffer) -> Buffer:
    """All pieces in one dispatch: out [rows, width(pieces)]."""
    words = [word for piece in pieces for _ in range(padded(piece.rows) // 16) for word in (piece.source, piece.act)]
    table = Buffer(prefix + "table", (len(words) // 2, 2), "u32", "constant", data=array("I", words).tobytes())
    matrix = p.matrix(prefix + "project", [piece.tensor for piece in pieces], mixed.shape[-1], align=16)
    return p.project(matrix, mixed, table, out)


def channel_mix(p: Builder, config: Config, i: int, x: Buffer, mixed: Buffer) -> None:
    """V4, V5, V6: x += σ(W_r x_r) ⊙ W_v relu(W_k x_k)²; `mixed`: scratch of at least two rows of inputs."""
    c, ffn = config.embd, f"blocks.{i}.ffn."
    p.point = f"layer.{i}.ffn.mix"
    mu = p.vectors(ffn + "mu", [ffn + "time_maa_k", ffn + "time_maa_r"], c)
    p.layer_mix(x, norm(p, i, "ln2", c), mu, p.state(f"{i}.ffn_prev", c), mixed)
    p.point = f"layer.{i}.ffn.project"
    pieces = [Piece(ffn + "key.weight", 0, config.ffn, RELU2), Piece(ffn + "receptance.weight", 1, c, SIGMOID)]
    projected = project(p, ffn, pieces, mixed, p.scratch("ffn", p.program.max_rows, width(pieces)))
    p.point = f"layer.{i}.ffn.value"
    value = p.matrix(ffn + "value.weight", [ffn + "value.weight"], padded(config.ffn))
    p.matmul(value, projected, x, gate=padded(config.ffn))
