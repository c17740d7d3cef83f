"""Which tokens may come next: the vocabulary against the tops of stacks.

A token is a piece of text that may end inside the topmost part, or go through it into the part below, and so on. So a mask is worked out part by part: what
of a list of texts ends inside the part is allowed; what is left of those that go through it makes the list for the part below, which is nearly always short,
and empty after a few parts, however deep the stack is. The list for the topmost part is the whole vocabulary, but it is looked at only where the part's next
bytes lead, except under `Characters`: what a set of characters makes of the vocabulary is found with one regular expression and kept for all grammars.

Some patterns make many lists of it (`([a-z]+ ?){1,30}` may be cut anywhere, and each part differs by its count). When they grow too long, every token is put
through the automaton instead, byte by byte: the same mask, in a time that has a limit.

A set of tokens is an int with one bit per token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

from py_rwkv.structured.automaton import MANY, Automaton, Characters, Literal, Part, Stack, State
from py_rwkv.structured.characters import Unit
from py_rwkv.tokenizer import Tokenizer

Text = tuple[bytes, int]  # what is left of a token, and the token
FEW = 8  # first bytes: for more, all texts are looked through at once
MOST_KEPT = 4096  # masks of stacks that one grammar remembers
EFFORT, LESS_EFFORT = 250_000, 30_000  # texts looked at for one mask; for a grammar that once needed more
MOST_LISTED = 1_000_000  # texts in the lists that one grammar remembers, about
SETS = 6  # of characters, of which an index remembers what they make of the vocabulary


class TooMuch(Exception):
    """The lists have grown too long."""


class Effort:
    """How many more texts may be looked at."""

    left = 0

    def spend(self, texts: int) -> None:
        self.left -= texts
        if self.left < 0:
            raise TooMuch


def bits_of(tokens: Iterable[int], words: int) -> int:
    """The set of these tokens."""
    raw = bytearray(4 * words)
    for token in tokens:
        raw[token >> 3] |= 1 << (token & 7)
    return int.from_bytes(raw, "little")


class Texts:
    """Some texts by their first byte, each list sorted."""

    def __init__(self, groups: dict[int, list[Text]]) -> None:
        self.groups = groups

    def starting(self, byte: int) -> Sequence[Text]:
        return self.groups.get(byte, ())

    def starting_with(self, firsts: bytes) -> list[Text]:
        return [text for byte in firsts for text in self.starting(byte)]


class Behind(Texts):
    """What is left of those texts that begin with a literal: texts[low:high] of a sorted list."""

    def __init__(self, texts: Sequence[Text], low: int, high: int, size: int) -> None:
        super().__init__({})
        self._texts, self._low, self._high, self._size = texts, low, high, size

    def starting(self, byte: int) -> Sequence[Text]:
        if byte not in self.groups:
            head = self._texts[self._low][0][: self._size]
            low = bisect_left(self._texts, (head + bytes([byte]),), self._low, self._high)
            high = bisect_left(self._texts, (head + bytes([byte + 1]),), low, self._high) if byte < 255 else self._high
            self.groups[byte] = [(text[self._size :], token) for text, token in self._texts[low:high]]
        return self.groups[byte]


class Cut:
    """What one set of characters makes of some texts, that all begin with such a character."""

    def __init__(self, unit: Unit, texts: Sequence[Text], words: int, effort: Effort) -> None:
        self.unit, self._texts, self._words, self._effort = unit, texts, words, effort
        self._inside: list[int] | None = None  # by the count of characters: at most so many
        self._whole: int | None = None
        self._cuts: dict[int, list[tuple[bytes, int, int]]] = {}

    def inside(self, high: int) -> int:
        """The tokens whose text is at most so many characters, the last one perhaps only begun."""
        if high == MANY:
            if self._whole is None:
                match = self.unit.begun.fullmatch
                self._whole = bits_of((token for text, token in self._texts if match(text)), self._words)
            return self._whole
        if self._inside is None:
            match, count = self.unit.begun.fullmatch, self.unit.count
            by_count: dict[int, list[int]] = {}
            for text, token in self._texts:
                if match(text):
                    by_count.setdefault(count(text), []).append(token)
            self._inside = [0]
            for n in range(1, max(by_count, default=0) + 1):
                self._inside.append(self._inside[-1] | bits_of(by_count.get(n, ()), self._words))
        return self._inside[min(high, len(self._inside) - 1)]

    def cuts(self, byte: int) -> list[tuple[bytes, int, int]]:
        """(what is left, token, characters before) wherever a text can be cut behind a character and before such a byte; sorted."""
        if byte not in self._cuts:
            self._effort.spend(len(self._texts))
            match, count, found = self.unit.whole.fullmatch, self.unit.count, []
            for text, token in self._texts:
                at = text.find(byte, 1)
                while at > 0:
                    if match(text, 0, at):
                        found.append((text[at:], token, count(text[:at])))
                    at = text.find(byte, at + 1)
            self._cuts[byte] = sorted(found)
        return self._cuts[byte]

    def cut_once(self) -> dict[int, list[Text]]:
        """What is left behind the first character, by its first byte."""
        self._effort.spend(len(self._texts))
        groups: dict[int, list[Text]] = {}
        for text, token in self._texts:
            found = self.unit.one.match(text)
            if found and (end := found.end()) < len(text):
                groups.setdefault(text[end], []).append((text[end:], token))
        for left in groups.values():
            left.sort()
        return groups

    def cut_everywhere(self) -> None:
        """`cuts` of all bytes at once."""
        self._effort.spend(sum(len(text) for text, _ in self._texts))
        every: dict[int, list[tuple[bytes, int, int]]] = {byte: [] for byte in range(256)}
        for text, token in self._texts:
            at, end = 0, len(text)
            for n, match in enumerate(self.unit.one.finditer(text), 1):
                if match.start() != at or match.end() == end:
                    break
                at = match.end()
                every[text[at]].append((text[at:], token, n))
        self._cuts = {byte: sorted(found) for byte, found in every.items()}


class BehindCharacters(Texts):
    """What is left of texts behind `low` to `high` characters."""

    def __init__(self, cut: Cut, low: int, high: int) -> None:
        super().__init__(cut.cut_once() if high == 1 else {})
        self._cut, self._low, self._high = cut, low, high

    def starting(self, byte: int) -> Sequence[Text]:
        if self._high == 1:
            return self.groups.get(byte, ())
        if byte not in self.groups:
            low, high = self._low, self._high
            self.groups[byte] = [(text, token) for text, token, n in self._cut.cuts(byte) if low <= n <= high]
        return self.groups[byte]

    def starting_with(self, firsts: bytes) -> list[Text]:
        if len(firsts) > FEW and self._high > 1 and len(self._cut._cuts) < 256:
            self._cut.cut_everywhere()
        return super().starting_with(firsts)


class Index:
    """A vocabulary, made ready."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.words, self.effort = -(-tokenizer.vocab_limit // 32), Effort()
        groups: dict[int, list[Text]] = {}
        for token in range(tokenizer.vocab_limit):
            if data := tokenizer.token_bytes(token):
                groups.setdefault(data[0], []).append((data, token))
        for texts in groups.values():
            texts.sort()
        self.texts = Texts(groups)
        self.cut = lru_cache(SETS)(self._cut)

    def _cut(self, unit: Unit) -> Cut:
        return Cut(unit, self.texts.starting_with(unit.firsts), self.words, self.effort)


@lru_cache(2)
def index_of(tokenizer: Tokenizer) -> Index:
    """The index of a tokenizer, made once."""
    return Index(tokenizer)


class Masks:
    """The masks of one grammar's states over one vocabulary."""

    def __init__(self, automaton: Automaton, index: Index) -> None:
        self.automaton, self.index = automaton, index
        self._through: dict[tuple[Texts, Part], tuple[int, Texts | None]] = {}
        self._allowed: dict[tuple[Texts, Stack], int] = {}
        self._known: dict[State, int] = {}
        self._effort, self._listed = EFFORT, 0

    def of(self, state: State) -> int:
        """The tokens that may come next."""
        if state not in self._known:
            if max(len(self._allowed), len(self._known)) > MOST_KEPT or self._listed > MOST_LISTED:
                for kept in (self._allowed, self._through, self._known):
                    kept.clear()
                self._listed = 0
            self.index.effort.left = self._effort
            try:
                bits = 0
                for stack in state.stacks:
                    bits |= self._top(self.index.texts, stack)
            except TooMuch:
                self._effort = LESS_EFFORT
                bits = self._plainly(state)
            self._listed += self._effort - max(self.index.effort.left, 0)
            self._known[state] = bits
        return self._known[state]

    def _plainly(self, state: State) -> int:
        """The same, token by token."""
        step, inside = self.automaton.step, list[int]()
        for byte in state.firsts():
            for text, token in self.index.texts.starting(byte):
                at: State | None = state
                for c in text:
                    assert at is not None
                    at = at.steps[c] if c in at.steps else step(at, c)
                    if at is None:
                        break
                else:
                    inside.append(token)
        return bits_of(inside, self.index.words)

    def _below(self, texts: Texts, stack: Stack) -> int:
        """Of these texts those that the stack allows."""
        key = texts, stack
        if key not in self._allowed:
            bits = 0
            for top in stack.closure():
                bits |= self._top(texts, top)
            self._allowed[key] = bits
        return self._allowed[key]

    def _top(self, texts: Texts, stack: Stack) -> int:
        if stack.part is None or stack.rest is None:
            return 0
        key = texts, stack.part
        if key not in self._through:
            self._through[key] = self._pass(texts, stack.part)
        inside, left = self._through[key]
        return inside | self._below(left, stack.rest) if left else inside

    def _pass(self, texts: Texts, part: Part) -> tuple[int, Texts | None]:
        """The texts that end inside the part (or with it), and what is left of those that go through it."""
        if isinstance(part, Literal):
            return self._pass_literal(texts, part.data)
        if isinstance(part, Characters):
            if texts is self.index.texts:
                cut = self.index.cut(part.unit)
            else:
                some = texts.starting_with(part.firsts)
                if not some:
                    return 0, None
                self.index.effort.spend(len(some))
                cut = Cut(part.unit, some, self.index.words, self.index.effort)
            return cut.inside(part.high), BehindCharacters(cut, max(part.low, 1), part.high)
        return self._pass_any(texts, part)

    def _pass_literal(self, texts: Texts, data: bytes) -> tuple[int, Texts | None]:
        sorted_texts = texts.starting(data[0])
        inside: list[int] = []
        at = 0
        for n in range(1, len(data) + 1):
            at = bisect_left(sorted_texts, (data[:n],), at)
            while at < len(sorted_texts) and sorted_texts[at][0] == data[:n]:
                inside.append(sorted_texts[at][1])
                at += 1
        end = at
        while end < len(sorted_texts) and sorted_texts[end][0].startswith(data):
            end = bisect_left(sorted_texts, (data + b"\xff" * 256,), end)
        return bits_of(inside, self.index.words) if inside else 0, Behind(sorted_texts, at, end, len(data)) if end > at else None

    def _pass_any(self, texts: Texts, part: Part) -> tuple[int, Texts | None]:
        """Byte by byte, by an automaton of its own."""
        alone = Automaton(part)
        inside: list[int] = []
        groups: dict[int, list[Text]] = {}
        for byte in part.firsts:
            some = texts.starting(byte)
            self.index.effort.spend(len(some))
            for text, token in some:
                state: State | None = alone.start
                for at, c in enumerate(text):
                    assert state is not None
                    if at and state.may_end:
                        groups.setdefault(c, []).append((text[at:], token))
                    state = state.steps[c] if c in state.steps else alone.step(state, c)
                    if state is None:
                        break
                else:
                    inside.append(token)
        for left in groups.values():
            left.sort()
        return bits_of(inside, self.index.words) if inside else 0, Texts(groups) if groups else None
