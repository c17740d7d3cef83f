"""Sets of characters, and how one character of a set is spelled in bytes: as UTF-8, or as it may stand inside a JSON string."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

Ranges = tuple[tuple[int, int], ...]  # code points, sorted, apart from each other, without surrogates
Spelling = tuple[bytes, ...]  # for every byte of a character: those that may stand there, ascending

LAST = 0x10FFFF
CONTINUED = bytes(range(0x80, 0xC0))  # what no character begins with in UTF-8
HEX = b"0123456789ABCDEFabcdef"
SHORT = {8: b"b", 9: b"t", 10: b"n", 12: b"f", 13: b"r", 0x22: b'"', 0x2F: b"/", 0x5C: b"\\"}  # what JSON has two-byte escapes for
DONE: tuple[Spelling, ...] = ((),)  # the character is whole


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges, put in order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    whole: list[tuple[int, int]] = []
    for low, high in merged:
        whole += [(a, b) for a, b in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)) if a <= b]
    return tuple(whole)


def others(given: Ranges) -> Ranges:
    """Every character that is not in the set."""
    gaps, start = [], 0
    for low, high in given:
        gaps.append((start, low - 1))
        start = high + 1
    return ranges((low, high) for low, high in (*gaps, (start, LAST)) if low <= high)


def common(a: Ranges, b: Ranges) -> Ranges:
    """What is in both."""
    return ranges((max(x, u), min(y, v)) for x, y in a for u, v in b if max(x, u) <= min(y, v))


ALL = others(())
CONTROLS = ((0, 0x1F),)
_RAW = others(ranges([*CONTROLS, (0x22, 0x22), (0x5C, 0x5C)]))  # what a JSON string may hold as it is


def _utf8(low: int, high: int) -> Iterator[Spelling]:
    """UTF-8 of low … high as products of byte ranges."""
    for edge in (0x7F, 0x7FF, 0xFFFF):
        if low <= edge < high:
            yield from _utf8(low, edge)
            yield from _utf8(edge + 1, high)
            return
    for i in range(1, len(chr(high).encode())):
        tail = (1 << 6 * i) - 1
        if low | tail != high | tail:
            if low & tail:
                yield from _utf8(low, low | tail)
                yield from _utf8((low | tail) + 1, high)
                return
            if high & tail != tail:
                yield from _utf8(low, (high & ~tail) - 1)
                yield from _utf8(high & ~tail, high)
                return
    yield tuple(bytes(range(a, b + 1)) for a, b in zip(chr(low).encode(), chr(high).encode(), strict=True))


def _in_json(given: Ranges) -> Iterator[Spelling]:
    r"""Characters inside a JSON string: as they are; `\n` and its like; `\u00XX` for other control characters, and for any in the set of all characters."""
    for low, high in common(given, _RAW):
        yield from _utf8(low, high)
    has = [bool(common(given, ((code, code),))) for code in range(0x60)]
    if short := bytes(sorted(letter[0] for code, letter in SHORT.items() if has[code])):
        yield b"\\", short
    if given == ALL:
        yield b"\\", b"u", bytes(c for c in HEX if c not in b"Dd"), HEX, HEX, HEX
        yield b"\\", b"u", b"Dd", b"01234567", HEX, HEX
    else:
        for code in (code for code in range(0x20) if has[code] and code not in SHORT):
            yield b"\\", b"u", b"0", b"0", *(bytes({ord(d), ord(d.upper())}) for d in f"{code:02x}")


def _one_of(choices: bytes) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % c for c in choices) + b"]"


class Unit:
    """One character of a set. No spelling is the beginning of another, so it is always known where a character ends.

    A place inside a character is what may follow, as a tuple of spellings; `start` is before it, DONE behind it.
    """

    def __init__(self, given: Ranges, json: bool) -> None:
        self.ranges, self.json = given, json
        self.start: tuple[Spelling, ...] = tuple(_in_json(given) if json else (s for low, high in given for s in _utf8(low, high)))
        self.firsts = self.choices(self.start)
        self.parts: dict[Any, Any] = {}  # made of it (automaton.py): the same for the same values
        self._steps: dict[tuple[tuple[Spelling, ...], int], tuple[Spelling, ...] | None] = {}
        single = bytes(sorted({c for s in self.start if len(s) == 1 for c in s[0]}))
        longer = [b"".join(map(_one_of, s)) for s in self.start if len(s) > 1]
        begun = sorted({b"".join(map(_one_of, s[:n])) for s in self.start for n in range(1, len(s))}, key=len)
        one = b"|".join([_one_of(single)] * bool(single) + longer)
        many = b"|".join([_one_of(single) + b"++"] * bool(single) + longer)
        self.one = re.compile(b"(?:" + one + b")", re.S)
        self.whole = re.compile(b"(?:" + many + b")*+", re.S)
        self.begun = re.compile(b"(?:" + many + b")*+(?:" + b"|".join(reversed(begun)) + b")?", re.S) if begun else self.whole

    @staticmethod
    @lru_cache(64)
    def of(given: Ranges, json: bool) -> Unit:
        """The same unit for the same set, so that what is known of it is known once. The set must not be empty."""
        return Unit(given, json)

    @staticmethod
    def choices(place: tuple[Spelling, ...]) -> bytes:
        """The bytes that may come next."""
        return bytes(sorted({c for s in place if s for c in s[0]}))

    def step(self, place: tuple[Spelling, ...], byte: int) -> tuple[Spelling, ...] | None:
        """The place after one more byte; None if it does not fit."""
        key = place, byte
        if key not in self._steps:
            self._steps[key] = tuple(dict.fromkeys(s[1:] for s in place if s and byte in s[0])) or None
        return self._steps[key]

    def count(self, data: bytes) -> int:
        """Characters in bytes that are whole ones, or begin the last."""
        if not self.json or b"\\" not in data:
            return len(data.translate(None, CONTINUED))
        found = [m.end() for m in self.one.finditer(data)]
        return len(found) + int((found[-1] if found else 0) < len(data))
