"""What has no finite text: parts that always contain themselves are taken out of a grammar, so that nothing leads where no end can be reached."""

from __future__ import annotations

from collections.abc import Iterable

from py_rwkv.structured.automaton import Either, Named, Part, Repeat, Sequence_


def prune(every: Iterable[Named]) -> None:
    """Find out which of the named parts (all that there are) have a text, and take what has none out of the choices."""
    named, changed = list(every), True
    while changed:
        changed = False
        for part in named:
            if not part.possible and _possible(part.part, {}):
                part.possible = changed = True
    known: dict[Part, bool] = {}
    done: set[Part] = set()
    for part in named:
        _prune(part.part, known, done)


def _possible(part: Part, known: dict[Part, bool]) -> bool:
    if isinstance(part, Named):  # only these contain themselves
        return part.possible
    if part not in known:
        if isinstance(part, Sequence_):
            known[part] = all(_possible(p, known) for p in part.parts)
        elif isinstance(part, Either):
            known[part] = any(_possible(p, known) for p in part.parts)
        else:
            known[part] = not isinstance(part, Repeat) or part.low == 0 or _possible(part.part, known)
    return known[part]


def _prune(part: Part, known: dict[Part, bool], done: set[Part]) -> None:
    if part in done:
        return
    done.add(part)
    if isinstance(part, Either | Sequence_):
        for p in part.parts:
            _prune(p, known, done)
        if isinstance(part, Either):
            part.parts = tuple(p for p in part.parts if _possible(p, known))
    elif isinstance(part, Repeat):
        _prune(part.part, known, done)
        if not _possible(part.part, known):
            part.low = part.high = 0
