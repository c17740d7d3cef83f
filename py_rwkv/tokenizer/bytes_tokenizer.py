"""The tokenizer of models with 256 rows: a token is a byte."""

from __future__ import annotations

from collections.abc import Iterable

from py_rwkv.tokenizer.utf8 import utf8


class BytesTokenizer:
    """id = byte. Every id is text, so nothing ends a document."""

    name = "bytes"
    stop_tokens: tuple[int, ...] = ()
    vocab_limit = 256

    def encode(self, text: str) -> list[int]:
        """UTF-8 bytes of a text. Lone surrogates count as U+FFFD."""
        return list(utf8(text))

    def token_bytes(self, token: int) -> bytes:
        """One byte; b"" for ids beyond 255."""
        return bytes([token]) if 0 <= token < 256 else b""

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of token ids; incomplete UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", "replace")
