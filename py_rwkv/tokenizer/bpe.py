"""Byte-pair encoding over bytes, with added tokens matched first: the tokenizer of the Pile models (20B, GPT-NeoX). Its file is read in `hugging_face.py`.

text ──added tokens (as written)──▶ NFC ──added tokens (normalized)──▶ words ──merges──▶ ids
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Literal
from unicodedata import normalize

from py_rwkv.tokenizer.gpt2_words import words
from py_rwkv.tokenizer.utf8 import utf8

Form = Literal["", "NFC", "NFD", "NFKC", "NFKD"]  # of Unicode normalization; "": none

ID_BITS = 20  # of a token id
CACHED = 1 << 15  # words; then the cache starts afresh
CACHED_WORD = 64  # characters


@dataclass(frozen=True)
class Bpe:
    """The tables. Two numbers in one, high << ID_BITS | low, keep 50 000 merges small and quick.

    tokens: bytes by id, b"" for ids that are no text · byte_ids: byte → id, −1 for the bytes that UTF-8 never has · merges: left id, right id → rank from 1, merged id ·
    whole: words that are tokens by themselves, whatever the merges say (HF's ignore_merges) · verbatim, normalized: added token → id ·
    stop_tokens: ids that end a document
    """

    tokens: Sequence[bytes]
    byte_ids: Sequence[int]
    merges: Mapping[int, int]
    whole: Mapping[bytes, int] = field(default_factory=dict)
    verbatim: Mapping[str, int] = field(default_factory=dict)
    normalized: Mapping[str, int] = field(default_factory=dict)
    form: Form = ""
    stop_tokens: tuple[int, ...] = ()


class BpeTokenizer:
    """What a Hugging Face `tokenizer.json` of this kind does, id for id."""

    name = "bpe"

    def __init__(self, tables: Bpe) -> None:
        self._tables = tables
        self.stop_tokens = tables.stop_tokens
        self.vocab_limit = len(tables.tokens)
        self._verbatim, self._normalized = _pattern(tables.verbatim), _pattern(tables.normalized)
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Lone surrogates count as U+FFFD."""
        t, tokens = self._tables, []
        for piece, token in _split(self._verbatim, t.verbatim, utf8(text).decode()):
            for part, inner in _split(self._normalized, t.normalized, normal(t.form, piece)):
                for word in words(part):
                    tokens += self._cache.get(word) or self._word(word)
                tokens += inner
            tokens += token
        return tokens

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; b"" for ids that are no text."""
        return self._tables.tokens[token] if 0 <= token < self.vocab_limit else b""

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids; incomplete UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")

    def _word(self, word: str) -> list[int]:
        data = word.encode()
        token = self._tables.whole.get(data)
        ids = merge([self._tables.byte_ids[byte] for byte in data], self._tables.merges) if token is None else [token]
        if len(word) <= CACHED_WORD:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[word] = ids
        return ids


def merge(ids: list[int], merges: Mapping[int, int]) -> list[int]:
    """Join the neighbours of the lowest rank, the leftmost first, until none can be joined. O(n log n): Chinese has words of hundreds of bytes."""
    end, find = len(ids), merges.get
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))  # the neighbours of a position that is still there
    waiting = [found << 32 | at for at in range(end - 1) if (found := find(ids[at] << ID_BITS | ids[at + 1]))]  # rank, merged id, position
    heapify(waiting)
    while waiting:
        top = heappop(waiting)
        at = top & 0xFFFFFFFF
        right = after[at]
        if ids[at] < 0 or right == end or find(ids[at] << ID_BITS | ids[right]) != top >> 32:
            continue  # one of the two was joined to something else meanwhile
        merged = top >> 32 & (1 << ID_BITS) - 1
        ids[at], ids[right], after[at] = merged, -1, after[right]
        if (right := after[at]) < end:
            before[right] = at
            if found := find(merged << ID_BITS | ids[right]):
                heappush(waiting, found << 32 | at)
        if (left := before[at]) >= 0 and (found := find(ids[left] << ID_BITS | merged)):
            heappush(waiting, found << 32 | left)
    return [token for token in ids if token >= 0]


def normal(form: Form, text: str) -> str:
    return normalize(form, text) if form else text


def _pattern(tokens: Mapping[str, int]) -> re.Pattern[str] | None:
    """Finds the leftmost token, the longest one there."""
    return re.compile("(" + "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) + ")") if tokens else None


def _split(pattern: re.Pattern[str] | None, tokens: Mapping[str, int], text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Pieces of text, each with the added token behind it, if there is one."""
    parts = pattern.split(text) if pattern else [text]
    for piece, token in zip(parts[::2], parts[1::2], strict=False):
        yield piece, (tokens[token],)
    yield parts[-1], ()
