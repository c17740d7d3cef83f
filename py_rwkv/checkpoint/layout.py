"""The packed model as plain data: which tensors a config makes. `pack` produces exactly these, and a manifest must list them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from py_rwkv.models.config import MIXES, Config, Expected, Kind, tensors

COLUMNS = 16  # matrices are zero-padded to a multiple of this many columns
FOLDED = (
    "blocks.0.ln0.weight",
    "blocks.0.ln0.bias",
)  # inside the packed emb.weight; also kept, for embeddings that come as inputs and for export
UNUSED = tuple(f"blocks.0.att.v{i}" for i in range(3))  # layer 0 makes the value that these would mix in

START_KINDS = ("att_prev", "wkv", "ffn_prev")  # of a layer's state; see docs/architecture.md

Fold = Literal["", "complement", "exp", "decay"]  # nothing · 1 − x · exp(x) · exp(−exp(x))


@dataclass(frozen=True)
class Packed:
    """A packed tensor before its encoding: a vector [columns] or a matrix [rows = outputs, columns = padded inputs].

    `source` is the official tensor it is made of; a vector is `fold`ed, then each value repeated until there are `columns` of them.
    `groups`: of factors in one tensor, each padded to a multiple of 16 rows when they lie side by side. `optional`: a model may lack it.
    """

    name: str
    kind: Kind
    rows: int
    columns: int
    source: str
    fold: Fold = ""
    groups: int = 1
    optional: bool = False


def layout(config: Config) -> Iterator[Packed]:
    """Every packed tensor, in the order of its use."""
    for t in tensors(config):
        if t.name in UNUSED:
            continue
        if t.kind == "vector":
            name, fold = _vector(config.version, t.name)
            per_head = config.version in ("5.0", "5.1") and name.endswith((".decay", ".time_faaaa"))
            yield Packed(name, t.kind, 1, config.embd if per_head else prod(t.shape), t.name, fold, optional=t.name in FOLDED)
        else:
            rows, columns, groups = _matrix(t)
            yield Packed(t.name, t.kind, rows, padded(columns), t.name, groups=groups)


def start_layout(config: Config) -> dict[str, int]:
    """The tensors of a default state, `state.N.KIND`, and their length. Optional in a packed model: a kind that is missing starts at zero."""
    c = config.embd
    sizes = {"att_prev": c, "wkv": 3 * c if config.version == "4" else c * config.head_size, "ffn_prev": c}
    return {f"state.{i}.{kind}": sizes[kind] for i in range(config.layers) for kind in START_KINDS}


def padded(size: int) -> int:
    return -(-size // COLUMNS) * COLUMNS


def _vector(version: str, name: str) -> tuple[str, Fold]:
    """The packed name of a vector and what is done to it, so that V4 to V6 have one direction of the token shift, and V5 one decay and one bonus."""
    block, _, last = name.rpartition(".")
    if last.startswith("time_mix_"):  # the weight of the current token; V6's time_maa is that of the previous one
        return f"{block}.{last.replace('mix', 'maa')}", "complement"
    if version[0] == "5" and last == "time_decay":
        return f"{block}.decay", "decay"
    if version == "5.0" and last == "time_first":
        return f"{block}.time_faaaa", "exp"
    return name, ""


def _matrix(t: Expected) -> tuple[int, int, int]:
    """Rows, columns and groups of a packed matrix."""
    if t.kind == "matrix":
        return t.shape[0], t.shape[1], 1
    if t.kind == "factor":
        return t.shape[1], t.shape[0], 1
    if len(t.shape) == 2:
        return MIXES * padded(t.shape[1] // MIXES), t.shape[0], MIXES
    return t.shape[0] * t.shape[2], t.shape[1], MIXES
