"""The packed model as plain data: which tensors a config makes. `pack` produces exactly these, and a manifest must list them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from py_rwkv.models.config import Config, Kind, tensors

COLUMNS = 16  # matrices are zero-padded to a multiple of this many columns
FOLDED = ("blocks.0.ln0.weight", "blocks.0.ln0.bias")  # already inside the packed emb.weight
UNUSED = tuple(f"blocks.0.att.v{i}" for i in range(3))  # layer 0 makes the value that these would mix in


@dataclass(frozen=True)
class Packed:
    """A packed tensor before its encoding: a vector [columns] or a matrix [rows = outputs, columns = padded inputs]."""

    name: str
    kind: Kind
    rows: int
    columns: int


def layout(config: Config) -> Iterator[Packed]:
    """Every packed tensor, in the order of its use."""
    for name, shape, kind, _ in tensors(config):
        if name in FOLDED or name in UNUSED:
            continue
        if kind == "vector":
            yield Packed(name, kind, 1, shape[0] * (shape[1] if len(shape) > 1 else 1))
        else:
            rows, columns = shape if kind == "matrix" else shape[::-1]
            yield Packed(name, kind, rows, -(-columns // COLUMNS) * COLUMNS)
