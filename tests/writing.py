"""Texts written under a grammar without a model: tokens chosen by chance among those that the mask allows."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from py_rwkv.structured import Grammar
from py_rwkv.tokenizer import Tokenizer

CLOSERS = b'"}]' + b"n" + b"0123456789 "  # what leads to an end, as a rule


class Few:
    """A small vocabulary: every byte, and pieces of JSON, words and numbers as large vocabularies have them, some of them across what belongs together."""

    name, stop_tokens = "few", (0,)
    pieces = (
        '{" {"} "} ": ":" ": " "," ", " "], ["] []] [] {} }} ]} }, }] ," ,\n : \\" \\n \\\\ \\u \\u00 "a "b "} true false null tru alse nul '
        " a b the ing er abc -1 10 12 00 007 0. .5 5, 7} 3] e+ E1 99 123 2024 20 -0 :0 日本 é ü 😀 a-b x@y .com @ -- :: ffff dead "
    ).split(" ")

    def __init__(self) -> None:
        extra = dict.fromkeys([" ", "  ", " {", ' "', ", ", ": ", *filter(None, self.pieces)])
        self._tokens = [b"", *(bytes([i]) for i in range(256)), *(p.encode() for p in extra if len(p.encode()) > 1)]
        self._tokens += ["日".encode()[:2], "日".encode()[1:], "é".encode()[1:] + b'"']
        self.vocab_limit = len(self._tokens)

    def encode(self, text: str) -> list[int]:
        return [1 + byte for byte in text.encode()]

    def token_bytes(self, token: int) -> bytes:
        return self._tokens[token]

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")


def allowed(mask: bytes) -> list[int]:
    """The tokens of a mask."""
    return [8 * i + bit for i, byte in enumerate(mask) if byte for bit in range(8) if byte >> bit & 1]


def write(grammar: Grammar, tokenizer: Tokenizer, random: Random, wander: int = 12, most: int = 400) -> tuple[bytes, bool]:
    """A text, and whether it is whole: anything for a while, then the shortest way out that a simple rule finds, in at most so many tokens."""
    matcher = grammar.matcher(tokenizer, tokenizer.stop_tokens)
    ways_out = [token for c in CLOSERS for token in tokenizer.encode(chr(c))]
    text = b""
    for n in range(most):
        if matcher.finished or (matcher.may_end and n >= wander):
            break
        mask = matcher.mask()
        assert any(mask), f"nothing may follow {text!r}"
        out = [token for token in ways_out if mask[token >> 3] >> (token & 7) & 1] if n >= wander and random.random() < 0.9 else []
        token = out[0] if out else random.choice(allowed(mask))
        matcher.advance(token)
        if matcher.ended:
            break
        text += tokenizer.token_bytes(token)
    return text, matcher.may_end
