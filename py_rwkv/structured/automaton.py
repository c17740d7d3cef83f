"""The automaton: parts of a grammar, what of them is still to come (a stack of parts), and all the ways a text may go on (a state).

A state is a set of stacks; a byte takes it to the next one. Stacks share their lower ends and are equal only if they are the same object; states, too.
A nested or recursive grammar needs no more than a stack can hold, and counted repetitions count down instead of being written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.structured.characters import DONE, Spelling, Unit

MANY = 1 << 30  # repetitions without a limit
MOST_STACKS = 1500  # in one state: a grammar that needs more is refused while it runs
MOST_STATES = 20_000  # remembered


class Part:
    """A piece of a grammar. Those that read bytes say which (`firsts`) and what is to come after one (`step`: parts, first first; None: it does not fit)."""

    firsts = b""

    def step(self, byte: int) -> tuple[Part, ...] | None:
        raise NotImplementedError


class Literal(Part):
    """Exactly these bytes (at least one)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.firsts = data, data[:1]
        self._rest: tuple[Part, ...] | None = None

    def step(self, byte: int) -> tuple[Part, ...] | None:
        if byte != self.data[0]:
            return None
        if self._rest is None:
            self._rest = (Literal(self.data[1:]),) if len(self.data) > 1 else ()
        return self._rest


class Characters(Part):
    """`low` to `high` characters of a set. `Characters.of` gives the same object for the same values."""

    def __init__(self, unit: Unit, low: int, high: int) -> None:
        self.unit, self.low, self.high, self.firsts = unit, low, high, unit.firsts
        self._begun: dict[int, tuple[Part, ...] | None] = {}

    @staticmethod
    def of(unit: Unit, low: int, high: int) -> Characters:
        made: dict[tuple[int, int], Characters] = unit.parts
        if (low, high) not in made:
            if len(made) > MOST_STATES:
                made.clear()
            made[low, high] = Characters(unit, low, high)
        return made[low, high]

    def step(self, byte: int) -> tuple[Part, ...] | None:
        if byte not in self._begun:
            place = self.unit.step(self.unit.start, byte)
            left = max(self.low - 1, 0), self.high - 1 if self.high < MANY else MANY
            rest: tuple[Part, ...] = (Characters.of(self.unit, *left),) if left[1] else ()
            self._begun[byte] = None if place is None else (*_inside(self.unit, place), *rest)
        return self._begun[byte]


class Begun(Part):
    """The rest of one character."""

    def __init__(self, unit: Unit, place: tuple[Spelling, ...]) -> None:
        self.unit, self.place, self.firsts = unit, place, unit.choices(place)

    def step(self, byte: int) -> tuple[Part, ...] | None:
        place = self.unit.step(self.place, byte)
        return None if place is None else _inside(self.unit, place)


def _inside(unit: Unit, place: tuple[Spelling, ...]) -> tuple[Part, ...]:
    if place == DONE:
        return ()
    made: dict[tuple[Spelling, ...], Begun] = unit.parts
    if place not in made:
        made[place] = Begun(unit, place)
    return (made[place],)


class Rule(Protocol):
    """What a `Computed` part asks: an automaton of its own, its places any hashable value. From every place it gives, an end can be reached."""

    def choices(self, place: Any) -> bytes: ...
    def step(self, place: Any, byte: int) -> Any: ...
    def ends(self, place: Any) -> bool: ...


class Computed(Part):
    """A text whose rule is computed: numbers within bounds."""

    def __init__(self, rule: Rule, place: Any, made: dict[Any, Computed] | None = None) -> None:
        self.rule, self.place = rule, place
        self._made = {} if made is None else made

    def step(self, byte: int) -> tuple[Part, ...] | None:
        place = self.rule.step(self.place, byte)
        if place is None:
            return None
        if place not in self._made:
            self._made[place] = Computed(self.rule, place, self._made)
        return (self._made[place],)

    @cached_property
    def firsts(self) -> bytes:  # type: ignore[override]
        return self.rule.choices(self.place)

    @property
    def ends(self) -> bool:
        return self.rule.ends(self.place)


class Sequence_(Part):
    """One after the other; none of them: nothing."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts


class Either(Part):
    """Any one of them."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts


class Repeat(Part):
    """`low` to `high` times. What is repeated must not be empty, or `low` must be 0."""

    def __init__(self, part: Part, low: int, high: int) -> None:
        self.part, self.low, self.high = part, low, high
        self._next: tuple[Part, ...] | None = None

    def after_one(self) -> tuple[Part, ...]:
        """What is left of it when one has come."""
        if self._next is None:
            if self.high == MANY and self.low <= 1:
                self._next = (self if self.low == 0 else Repeat(self.part, 0, MANY),)
            elif self.high == 1:
                self._next = ()
            else:
                self._next = (Repeat(self.part, max(self.low - 1, 0), self.high if self.high == MANY else self.high - 1),)
        return self._next


class Named(Part):
    """A part that may contain itself; `part` is set later."""

    def __init__(self) -> None:
        self.part: Part = Sequence_()
        self.possible = False  # whether it has any text at all


NOTHING = Sequence_()


class Stack:
    """What is to come: `part`, then what `rest` says. The bottom has no part."""

    __slots__ = ("_above", "closed", "part", "rest")

    def __init__(self, part: Part | None, rest: Stack | None) -> None:
        self.part, self.rest = part, rest
        self.closed: tuple[Stack, ...] | None = None
        self._above: dict[Part, Stack] = {}

    def push(self, *parts: Part) -> Stack:
        """The stack with these on top, the first topmost."""
        stack = self
        for part in reversed(parts):
            above = stack._above.get(part)
            if above is None:
                above = stack._above[part] = Stack(part, stack)
            stack = above
        return stack

    def closure(self) -> tuple[Stack, ...]:
        """The stacks whose top reads a byte, and the bottom if nothing need come, that this one stands for."""
        if self.closed is None:
            self.closed = tuple(_reading(self))
        return self.closed


def _reading(start: Stack) -> Iterator[Stack]:
    todo, seen = [start], {start}
    while todo:
        stack = todo.pop()
        part, rest = stack.part, stack.rest
        new: list[Stack] = []
        if part is None or rest is None:
            yield stack
        elif isinstance(part, Sequence_):
            new.append(rest.push(*part.parts))
        elif isinstance(part, Either):
            new += [rest.push(p) for p in part.parts]
        elif isinstance(part, Named):
            new.append(rest.push(part.part))
        elif isinstance(part, Repeat):
            if part.low == 0:
                new.append(rest)
            if part.high:
                new.append(rest.push(part.part, *part.after_one()))
        else:
            if (isinstance(part, Characters) and part.low == 0) or (isinstance(part, Computed) and part.ends):
                new.append(rest)
            yield stack
        for other in reversed(new):
            if other not in seen:
                seen.add(other)
                todo.append(other)
        if len(seen) > 16 * MOST_STACKS:
            raise RwkvError("grammar-too-complex", limit=16 * MOST_STACKS)


class State:
    """All ways to go on at one place of a text."""

    __slots__ = ("may_end", "stacks", "steps")

    def __init__(self, stacks: frozenset[Stack]) -> None:
        self.stacks = stacks
        self.may_end = any(stack.part is None for stack in stacks)
        self.steps: dict[int, State | None] = {}

    def firsts(self) -> bytes:
        """The bytes that may come next."""
        return bytes(sorted({byte for stack in self.stacks if stack.part for byte in stack.part.firsts}))

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return not any(stack.part is not None for stack in self.stacks)


class Automaton:
    """The states of one grammar, made as texts need them."""

    def __init__(self, root: Part) -> None:
        self.bottom = Stack(None, None)
        self._states: dict[frozenset[Stack], State] = {}
        self.start = self._state(self.bottom.push(root).closure())

    def _state(self, stacks: Sequence[Stack]) -> State:
        key = frozenset(_joined(stacks))
        if key not in self._states:
            if len(key) > MOST_STACKS:
                raise RwkvError("grammar-too-complex", limit=MOST_STACKS)
            if len(self._states) > MOST_STATES:
                self._states.clear()
            self._states[key] = State(key)
        return self._states[key]

    def step(self, state: State, byte: int) -> State | None:
        """The state after one more byte; None if no text of the grammar goes on so."""
        if byte not in state.steps:
            reached: dict[Stack, None] = {}
            for stack in state.stacks:
                if stack.part is None or stack.rest is None:
                    continue
                parts = stack.part.step(byte)
                if parts is not None:
                    reached.update(dict.fromkeys(stack.rest.push(*parts).closure()))
            state.steps[byte] = self._state(list(reached)) if reached else None
        return state.steps[byte]

    def feed(self, state: State | None, data: bytes) -> State | None:
        """The state after some bytes."""
        for byte in data:
            if state is None:
                return None
            state = state.steps[byte] if byte in state.steps else self.step(state, byte)
        return state


def _joined(stacks: Sequence[Stack]) -> Iterator[Stack]:
    """Characters that differ only in their counts become one where the counts meet: `.*a.{0,9}` has one stack for every `a` otherwise."""
    counted: dict[tuple[Unit, Stack], list[Stack]] = {}
    for stack in stacks:
        if isinstance(stack.part, Characters) and stack.rest is not None:
            counted.setdefault((stack.part.unit, stack.rest), []).append(stack)
        else:
            yield stack
    for (unit, rest), group in counted.items():
        if len(group) == 1:
            yield group[0]
            continue
        spans: list[tuple[int, int]] = []
        for low, high in sorted((s.part.low, s.part.high) for s in group if isinstance(s.part, Characters)):
            if spans and low <= spans[-1][1] + 1:
                spans[-1] = spans[-1][0], max(spans[-1][1], high)
            else:
                spans.append((low, high))
        for low, high in spans:
            yield rest.push(Characters.of(unit, low, high))
