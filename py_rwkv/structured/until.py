"""Any bytes up to and with the first occurrence of a marker: the search of Knuth, Morris and Pratt as a rule."""

from __future__ import annotations

from functools import lru_cache

from py_rwkv.structured.automaton import Computed, Part

EVERY = bytes(range(256))


class Until:
    """A rule for `Computed`; a place is how many bytes of the marker the text ends with."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self._steps: dict[tuple[int, int], int] = {}

    def choices(self, place: int) -> bytes:
        return EVERY if place < len(self.marker) else b""

    def step(self, place: int, byte: int) -> int | None:
        if place == len(self.marker):
            return None
        key = place, byte
        if key not in self._steps:
            end = self.marker[:place] + bytes([byte])
            self._steps[key] = next(n for n in range(place + 1, -1, -1) if end.endswith(self.marker[:n]))
        return self._steps[key]

    def ends(self, place: int) -> bool:
        return place == len(self.marker)


@lru_cache(4)
def until(marker: bytes) -> Part:
    """The part for a marker; the same one for the same marker."""
    return Computed(Until(marker), 0)
