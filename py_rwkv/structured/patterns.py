"""Parts that patterns are made of, made as plain as they can be: neighbours joined, sets of characters united, nothing empty repeated."""

from __future__ import annotations

from collections.abc import Sequence

from py_rwkv.structured.automaton import MANY, NOTHING, Characters, Either, Literal, Part, Repeat, Sequence_
from py_rwkv.structured.characters import Ranges, Unit, ranges


def characters(given: Ranges, json: bool, low: int = 1, high: int = 1) -> Part:
    """So many characters of a set."""
    return Characters.of(Unit.of(given, json), low, high) if high else NOTHING


def lengths(part: Part) -> tuple[int, int]:
    """The fewest and most characters of a pattern's texts; MANY: no limit."""
    if isinstance(part, Text):
        return part.length, part.length
    if isinstance(part, Characters):
        return part.low, part.high
    if isinstance(part, Repeat):
        low, high = lengths(part.part)
        return low * part.low, MANY if MANY in (high, part.high) and high and part.high else high * part.high
    each = [lengths(p) for p in part.parts] if isinstance(part, Sequence_ | Either) else []
    if isinstance(part, Either):
        return min(low for low, _ in each), max(high for _, high in each)
    return sum(low for low, _ in each), min(MANY, sum(high for _, high in each))


class Text(Literal):
    """A literal that knows how many characters it is."""

    def __init__(self, data: bytes, length: int) -> None:
        super().__init__(data)
        self.length = length


def joined(parts: Sequence[Part]) -> Part:
    """One after the other, neighbours that are alike made one."""
    flat: list[Part] = []
    for part in parts:
        for p in part.parts if isinstance(part, Sequence_) else (part,):
            last = flat[-1] if flat else None
            if isinstance(p, Text) and isinstance(last, Text):
                flat[-1] = Text(last.data + p.data, last.length + p.length)
            elif isinstance(p, Characters) and isinstance(last, Characters) and p.unit is last.unit:
                high = MANY if MANY in (p.high, last.high) else p.high + last.high
                flat[-1] = Characters.of(p.unit, p.low + last.low, high)
            else:
                flat.append(p)
    return flat[0] if len(flat) == 1 else Sequence_(*flat)


def united(ways: Sequence[Part]) -> Part:
    """Any of them; single characters made one set."""
    flat = [p for way in ways for p in (way.parts if isinstance(way, Either) else (way,))]
    flat = list(dict.fromkeys(flat))
    single = [p for p in flat if isinstance(p, Characters) and p.low == p.high == 1]
    if len({p.unit.json for p in single}) == 1 and len(single) > 1:
        one = characters(ranges(r for p in single for r in p.unit.ranges), single[0].unit.json)
        flat = [one, *(p for p in flat if p not in single)]
    return flat[0] if len(flat) == 1 else Either(*flat)


def repeat(part: Part, low: int, high: int) -> Part:
    """So many times."""
    if high == 0:
        return NOTHING
    if isinstance(part, Characters) and part.low == part.high == 1:
        return Characters.of(part.unit, low, high)
    if isinstance(part, Sequence_) and not part.parts:
        return part
    filled, empty = _filled(part)
    if filled is None:
        return NOTHING
    if isinstance(filled, Repeat | Characters) and filled.low == 1 and filled.high == MANY and (high == MANY or low <= 1):
        least = 0 if empty else low
        if least <= 1:  # (x+)* is x*
            return _again(filled, least)
    return Repeat(filled, 0 if empty else low, high)


def _again(part: Repeat | Characters, low: int) -> Part:
    return Repeat(part.part, low, MANY) if isinstance(part, Repeat) else Characters.of(part.unit, low, MANY)


def _filled(part: Part) -> tuple[Part | None, bool]:
    """The part without the empty text (None: nothing remains), and whether that was one of its texts."""
    if isinstance(part, Characters):
        return (part if part.low else Characters.of(part.unit, 1, part.high)), part.low == 0
    if isinstance(part, Repeat):
        return (part if part.low else Repeat(part.part, 1, part.high)), part.low == 0
    if isinstance(part, Either):
        each = [_filled(p) for p in part.parts]
        some = [p for p, _ in each if p is not None]
        return (united(some) if some else None), any(empty for _, empty in each)
    if isinstance(part, Sequence_):
        each = [_filled(p) for p in part.parts]
        if not all(empty for _, empty in each):
            return part, False
        # x? y? z?: begins with a filled x, or with a filled y and no x, …
        ways = [joined([p, *part.parts[i + 1 :]]) for i, (p, _) in enumerate(each) if p is not None]
        return (united(ways) if ways else None), True
    return part, False


def places_in(part: Part) -> int:
    """How many places the part has when repetitions are written out, but for those of characters."""
    if isinstance(part, Sequence_ | Either):
        return 1 + sum(map(places_in, part.parts))
    if isinstance(part, Repeat):
        return places_in(part.part) * (max(part.low, 1) if part.high == MANY else part.high)
    return 1


def limited(part: Part, low: int, high: int) -> Part | None:
    """The part with texts of low … high characters only, if that is a matter of one count in it; None otherwise."""
    least, most = lengths(part)
    if low <= least and most <= high:
        return part
    if isinstance(part, Characters):
        low, high = max(low, part.low), min(high, part.high)
        return characters(part.unit.ranges, True, low, high) if low <= high else None
    if not isinstance(part, Sequence_):
        return None
    each = [lengths(p) for p in part.parts]
    loose = [i for i, (a, b) in enumerate(each) if a != b]
    if len(loose) != 1:
        return None
    fixed = sum(a for i, (a, _) in enumerate(each) if i != loose[0])
    inner = limited(part.parts[loose[0]], max(low - fixed, 0), high - fixed if high != MANY else MANY)
    return joined([*part.parts[: loose[0]], inner, *part.parts[loose[0] + 1 :]]) if inner is not None and high >= fixed else None
