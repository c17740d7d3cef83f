"""The World tokenizer, and others with a vocabulary of their own: greedy longest match from the left over UTF-8 bytes. No pre-tokenizer, no normalisation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer.utf8 import utf8
from py_rwkv.tokenizer.vocabulary import Vocabulary, unpack

PACKED = Path(__file__).with_name("world.bin")


class WorldTokenizer:
    """World: ids 1..65529 are tokens (1..256 the single bytes), 0 ends a document, 65530..65535 exist only in the model's head: those decode to nothing."""

    def __init__(self, vocabulary: Vocabulary, name: str = "world") -> None:
        self.name = name
        self._tokens, self._ids, self._lengths = vocabulary
        self.vocab_limit = len(self._tokens)  # ids from here on are never sampled
        self.stop_tokens = () if self._tokens[0] else (0,)

    @staticmethod
    @lru_cache(maxsize=1)
    def load() -> WorldTokenizer:
        """The published vocabulary, packed into the package when it was built; loaded once. `no-vocabulary` if it is missing or damaged."""
        try:
            return WorldTokenizer(unpack(PACKED.read_bytes()))
        except (OSError, ValueError) as error:
            raise RwkvError("no-vocabulary", file=PACKED.name, reason=str(error)) from error

    def encode(self, text: str) -> list[int]:
        """Token ids of a text. Lone surrogates count as U+FFFD. `cannot-encode` where no token fits, which World's vocabulary rules out."""
        data, at, found = utf8(text), 0, self._ids.get
        lengths, tokens = self._lengths.get, []
        end = len(data)
        while at < end:
            # Past the end a slice is only shorter than asked: then it is the whole rest, and still the longest match if it is a token.
            for length in lengths(data[at : at + 2], b"\1"):
                if (token := found(data[at : at + length])) is not None:
                    tokens.append(token)
                    at += length
                    break
            else:
                raise RwkvError("cannot-encode", found=data[at : at + 12].decode("utf-8", "replace"), tokens=len(self._ids))
        return tokens

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; b"" for ids that are no text."""
        return self._tokens[token] if 0 <= token < self.vocab_limit else b""

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids; incomplete UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")
