"""A grammar, a text on its way through it, and grammars put together from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from time import perf_counter
from typing import Any

from py_rwkv.errors import RwkvError
from py_rwkv.structured.automaton import Automaton, Either, Literal, Part, Sequence_, State
from py_rwkv.structured.masks import Masks, bits_of, index_of
from py_rwkv.structured.until import until as until_part
from py_rwkv.tokenizer import Tokenizer

MADE = 32  # grammars of a kind that are remembered: what is put together from the same is the same, and knows what was found out about it


class Grammar:
    """What a text may be. Never changes; any number of texts may use it at once, and share what was found out about it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._masks: Callable[[Any], Masks] = lru_cache(2)(lambda tokenizer: Masks(self.automaton, index_of(tokenizer)))

    @cached_property
    def automaton(self) -> Automaton:
        """Its states, made as texts need them."""
        return Automaton(self.part)

    def matcher(self, tokenizer: Tokenizer, ends: Sequence[int] = (), signs: Sequence[int] = (), after: str = "") -> Matcher:
        """A matcher for what comes after a text that `begins` one of the grammar's, by default at the beginning.

        ends: tokens that end it where it may end (the tokenizer's stop tokens), and mean nothing else; signs: others that end it there, unless the grammar
        goes on with them.
        """
        matcher = Matcher(self, self._masks(tokenizer), tokenizer, ends, signs)
        matcher.read(after.encode())
        return matcher

    def accepts(self, text: str | bytes) -> bool:
        """Whether it is a whole text of the grammar."""
        state = self.automaton.feed(self.automaton.start, text.encode() if isinstance(text, str) else text)
        return state is not None and state.may_end

    def begins(self, text: str | bytes) -> bool:
        """Whether a text of the grammar begins so."""
        return self.automaton.feed(self.automaton.start, text.encode() if isinstance(text, str) else text) is not None


class Matcher:
    """One text on its way through a grammar, token by token."""

    def __init__(self, grammar: Grammar, masks: Masks, tokenizer: Tokenizer, ends: Sequence[int], signs: Sequence[int]) -> None:
        self.grammar = grammar
        self._masks, self._tokenizer, self._state = masks, tokenizer, grammar.automaton.start
        self._ends, self._signs = frozenset(ends), frozenset(signs)
        words = masks.index.words
        self._never, self._at_end = bits_of(ends, words), bits_of({*ends, *signs}, words)
        self.ended = False  # by a token that was its end
        self.mask_seconds = 0.0  # that masks took so far

    def read(self, data: bytes) -> None:
        """These bytes have come. RwkvError `not-in-grammar`."""
        state = self.grammar.automaton.feed(self._state, data)
        if state is None:
            raise RwkvError("not-in-grammar", token="", text=data.decode("utf-8", "replace")[-80:])
        self._state = state

    @property
    def may_end(self) -> bool:
        """Whether the text so far is whole."""
        return self._state.may_end

    @property
    def finished(self) -> bool:
        """Whether nothing can follow."""
        return self.ended or self._state.final

    def mask(self) -> bytes:
        """u32 words over the vocabulary: bit t % 32 of word t / 32 says whether token t may come next."""
        began = perf_counter()
        bits = self._masks.of(self._state)
        self.mask_seconds += perf_counter() - began
        bits = bits | self._at_end if self._state.may_end else bits & ~self._never
        return bits.to_bytes(4 * self._masks.index.words, "little")

    def advance(self, token: int) -> None:
        """The token has come. RwkvError `not-in-grammar` for one that the mask does not allow."""
        data = self._tokenizer.token_bytes(token)
        state: State | None = None
        if data and not self.ended and token not in self._ends:
            state = self.grammar.automaton.feed(self._state, data)
        if state is not None:
            self._state = state
        elif self._state.may_end and not self.ended and (token in self._ends or token in self._signs):
            self.ended = True
        else:
            raise RwkvError("not-in-grammar", token=token, text=data.decode("utf-8", "replace"))


@lru_cache(MADE)
def literal(text: str | bytes) -> Grammar:
    """Exactly this text."""
    return Grammar(_part(text))


def choice(texts: Sequence[str | bytes]) -> Grammar:
    """One of these texts, of which there must be at least one."""
    return _choice(tuple(text.encode() if isinstance(text, str) else text for text in texts))


@lru_cache(MADE)
def _choice(texts: tuple[bytes, ...]) -> Grammar:
    return Grammar(choices(texts))


@lru_cache(MADE)
def sequence(*parts: Grammar | str | bytes) -> Grammar:
    """One after the other; a text stands for itself."""
    return Grammar(Sequence_(*map(_part, parts)))


@lru_cache(MADE)
def alternatives(*parts: Grammar | str | bytes) -> Grammar:
    """Any one of them; a text stands for itself."""
    return Grammar(Either(*map(_part, parts)))


@lru_cache(MADE)
def optional(part: Grammar | str | bytes) -> Grammar:
    """The part, or nothing."""
    return Grammar(Either(_part(part), Sequence_()))


@lru_cache(MADE)
def until(marker: str) -> Grammar:
    """Any text up to and with the first marker."""
    return Grammar(until_part(marker.encode()))


def _part(given: Grammar | str | bytes) -> Part:
    if isinstance(given, Grammar):
        return given.part
    data = given.encode() if isinstance(given, str) else given
    return Literal(data) if data else Sequence_()


def choices(texts: Sequence[bytes]) -> Part:
    """One of these texts, what they begin with in common written once."""
    return _choices(sorted(set(texts)), 0)


def _choices(texts: Sequence[bytes], at: int, depth: int = 0) -> Part:
    """Sorted texts that are the same up to `at`."""
    if depth == 100:
        return Either(*(Literal(text[at:]) if text[at:] else Sequence_() for text in texts))
    first, last = texts[0], texts[-1]
    end = at
    while end < len(first) and end < len(last) and first[end] == last[end]:
        end += 1
    head: list[Part] = [Literal(first[at:end])] if end > at else []
    if len(texts) == 1:
        return Sequence_(*head)
    ways: list[Part] = []
    start = 0
    if len(first) == end:
        ways.append(Sequence_())
        start = 1
    while start < len(texts):
        stop = next((i for i in range(start, len(texts)) if texts[i][end] != texts[start][end]), len(texts))
        ways.append(_choices(texts[start:stop], end, depth + 1))
        start = stop
    return Sequence_(*head, Either(*ways))
