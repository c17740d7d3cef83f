"""Numbers in JSON: any, or whole multiples of something between bounds, decided digit by digit with exact arithmetic.

A bounded number is written without an exponent, with at most so many digits before and behind the point. A beginning is allowed if some ending is: the
digits that may follow span an interval, and an interval has a multiple or it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import lcm
from typing import NamedTuple

from py_rwkv.structured.automaton import Computed, Either, Literal, Part, Repeat, Sequence_
from py_rwkv.structured.characters import ranges
from py_rwkv.structured.patterns import characters

DIGIT = ((0x30, 0x39),)
WHOLE_DIGITS, PLACES = 15, 15  # most digits before and behind the point where no bound says more: what a double holds


def _digits(low: int, high: int) -> Part:
    return characters(DIGIT, True, low, high)


def _whole() -> Part:
    """0, or digits that begin with another."""
    return Either(Literal(b"0"), Sequence_(characters(ranges([(0x31, 0x39)]), True), _digits(0, WHOLE_DIGITS - 1)))


def integer() -> Part:
    """Any whole number of at most 15 digits."""
    return Sequence_(Repeat(Literal(b"-"), 0, 1), _whole())


def number() -> Part:
    """Any number that a double holds: 15 digits before and behind the point, an exponent of two digits."""
    fraction = Repeat(Sequence_(Literal(b"."), _digits(1, PLACES)), 0, 1)
    exponent = Sequence_(
        characters(ranges([(0x45, 0x45), (0x65, 0x65)]), True), Repeat(Either(Literal(b"+"), Literal(b"-")), 0, 1), _digits(1, 2)
    )
    return Sequence_(integer(), fraction, Repeat(exponent, 0, 1))


FREE_PLACES = 6  # digits behind the point of a number with bounds, at least


class Place(NamedTuple):
    """Where a number is: its sign, its digits so far as a number, how many of them are before the point and how many behind it (-1: no point yet)."""

    minus: bool
    value: int
    before: int
    behind: int


class Bounded:
    """Multiples of `every` from `least` to `most`, all in units of 10^-places; None: no bound. A rule for `Computed`."""

    def __init__(self, least: int | None, most: int | None, every: int, places: int) -> None:
        self.places, self.every = places, max(every, 1)
        widest = max(len(str(abs(bound))) for bound in (least or 0, most or 0)) - places
        self.digits = max(WHOLE_DIGITS, widest)
        edge = 10 ** (self.digits + places) - 1
        self.least, self.most = max(-edge, -edge if least is None else least), min(edge, edge if most is None else most)

    def part(self) -> Part | None:
        """None if there is no such number."""
        start = Place(False, 0, 0, -1)
        return Computed(self, start) if self.choices(start) else None

    def _some(self, minus: bool, low: int, high: int) -> bool:
        """Whether a multiple lies within bounds and has its size in low … high."""
        if minus:
            low, high = -high, -low
        low, high = max(low, self.least), min(high, self.most)
        return low <= high and high // self.every * self.every >= low

    def _open(self, place: Place) -> bool:
        """Whether some ending (or none) makes it one of the numbers."""
        minus, value, before, behind = place
        if before == 0:  # nothing but a sign
            return self._some(minus, 0, 10 ** (self.digits + self.places) - 1)
        if behind >= 0:
            unit = 10 ** (self.places - behind)
            return self._some(minus, value * unit, value * unit + unit - 1)
        more = self.digits - before if value else 0
        unit = 10**self.places
        return any(self._some(minus, value * 10**n * unit, (value + 1) * 10**n * unit - 1) for n in range(more + 1))

    def _next(self, place: Place, byte: int) -> Place | None:
        minus, value, before, behind = place
        if byte == 0x2D:
            return Place(True, 0, 0, -1) if not minus and not before else None
        if byte == 0x2E:
            return Place(minus, value, before, 0) if before and behind < 0 and self.places else None
        if not 0x30 <= byte <= 0x39:
            return None
        if behind >= 0:
            return Place(minus, 10 * value + byte - 0x30, before, behind + 1) if behind < self.places else None
        if before and (not value or before >= self.digits):
            return None
        return Place(minus, 10 * value + byte - 0x30, before + 1, -1)

    def step(self, place: Place, byte: int) -> Place | None:
        found = self._next(place, byte)
        return found if found is not None and self._open(found) else None

    def choices(self, place: Place) -> bytes:
        return bytes(byte for byte in b"-.0123456789" if self.step(place, byte) is not None)

    def ends(self, place: Place) -> bool:
        minus, value, before, behind = place
        if not before or behind == 0:
            return False
        size = value * 10 ** (self.places - max(behind, 0))
        return self._some(minus, size, size)


def bounded(rules: Mapping[str, Decimal], whole: bool) -> Part | None:
    """Numbers within minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf (above 0), those of them that are given; None if there are none."""
    exponents = [int(v.normalize().as_tuple().exponent) for v in rules.values()]
    places = max(0, *(-e for e in exponents))
    if not whole and "multipleOf" not in rules:
        places = max(places, FREE_PLACES)
    unit = 10**places
    size = {name: value * unit for name, value in rules.items()}
    least = [int(size[name].to_integral_value(ROUND_CEILING)) for name in ("minimum",) if name in size]
    least += [int(size[name].to_integral_value(ROUND_FLOOR)) + 1 for name in ("exclusiveMinimum",) if name in size]
    most = [int(size[name].to_integral_value(ROUND_FLOOR)) for name in ("maximum",) if name in size]
    most += [int(size[name].to_integral_value(ROUND_CEILING)) - 1 for name in ("exclusiveMaximum",) if name in size]
    every = int(size.get("multipleOf", 1))
    if whole:  # whole multiples of 2.5 are those of 5
        every = lcm(every, unit) if "multipleOf" in rules else unit
        least, most, every, places = [-(-low // unit) for low in least], [high // unit for high in most], every // unit, 0
    return Bounded(max(least, default=None), min(most, default=None), every, places).part()
