"""Text ↔ token ids, in plain Python (no numpy: this runs on the page's chat path)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer.bytes_tokenizer import BytesTokenizer
from py_rwkv.tokenizer.utf8 import Utf8Stream
from py_rwkv.tokenizer.world import WorldTokenizer

__all__ = ["BytesTokenizer", "Tokenizer", "Utf8Stream", "WorldTokenizer", "tokenizer_for"]


class Tokenizer(Protocol):
    """What the rest of the package knows of a tokenizer."""

    @property
    def name(self) -> str:
        """Its name in a manifest."""

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """Tokens that end a document."""

    @property
    def vocab_limit(self) -> int:
        """Ids from here on (rows of the head without a token) must never be chosen."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token, b"" for ids that are no text."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids."""


_TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {"world": WorldTokenizer.load, "bytes": BytesTokenizer}


def tokenizer_for(name: str) -> Tokenizer:
    """The tokenizer that a manifest names. `unknown-tokenizer` says what exists."""
    if name not in _TOKENIZERS:
        raise RwkvError("unknown-tokenizer", name=str(name), known=", ".join(_TOKENIZERS))
    return _TOKENIZERS[name]()
