"""Where two runs part: their values point by point, what is not a number first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.runtime.dump import Dump

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(frozen=True)
class Difference:
    """Of one point: the largest |a − b|, and that divided by the largest |a| (inf where a is zero and b is not, NaN where either is not finite)."""

    point: str
    error: float
    relative: float
    parted: bool


@dataclass(frozen=True)
class NotFinite:
    """The first NaN or infinity of a run: in the order of the computation, then of the tokens."""

    run: str  # "A" | "B"
    point: str
    row: int
    column: int
    value: float

    def __str__(self) -> str:
        return f"{self.run} at {self.point}, token {self.row}, column {self.column}: {self.value}"


@dataclass(frozen=True)
class Comparison:
    """Every point that both have, in the order of the computation; `alone`: points of one only."""

    differences: list[Difference]
    not_finite: NotFinite | None
    alone: tuple[str, ...]

    @property
    def first(self) -> Difference | None:
        """Where they part."""
        return next((d for d in self.differences if d.parted), None)


def compare(a: Dump, b: Dump, tolerance: float) -> Comparison:
    """Hold B's values against A's. They part where an error exceeds `tolerance` times the largest value of A there.

    RwkvError `cannot-compare` for other tokens, other shapes, or no point in common.
    """
    if a.tokens != b.tokens:
        raise RwkvError("cannot-compare", what="the tokens", a=_short(a.tokens), b=_short(b.tokens))
    both = [name for name in a.values if name in b.values]
    if not both:
        raise RwkvError("cannot-compare", what="the set of points", a=_short(a.values), b=_short(b.values))
    for name in both:
        if a.values[name].shape != b.values[name].shape:
            raise RwkvError("cannot-compare", what=name, a=str(list(a.values[name].shape)), b=str(list(b.values[name].shape)))
    bad = [found for name in both for run, dump in (("A", a), ("B", b)) if (found := _not_finite(run, name, dump.values[name]))]
    differences = [_difference(name, a.values[name], b.values[name], tolerance) for name in both]
    return Comparison(differences, bad[0] if bad else None, tuple(sorted(a.values.keys() ^ b.values.keys())))


def _difference(point: str, a: ndarray, b: ndarray, tolerance: float) -> Difference:
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.abs(a.astype(np.float64) - b).max(initial=0))
        largest = float(np.abs(a).max(initial=0))
    relative = error / largest if largest else (0.0 if error == 0 else float("inf"))
    return Difference(point, error, relative, not relative <= tolerance)


def _not_finite(run: str, point: str, value: ndarray) -> NotFinite | None:
    where = np.argwhere(~np.isfinite(value))
    if not len(where):
        return None
    row, column = map(int, where[0])
    return NotFinite(run, point, row, column, float(value[row, column]))


def _short(items: object) -> str:
    text = ", ".join(map(str, items)) if isinstance(items, tuple | dict) else str(items)
    return text if len(text) <= 60 else text[:59] + "…"
