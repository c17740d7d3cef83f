"""Text ↔ token ids, in plain Python (no numpy: this runs on the page's chat path)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer.bytes_tokenizer import BytesTokenizer
from py_rwkv.tokenizer.utf8 import Utf8Stream
from py_rwkv.tokenizer.world import WorldTokenizer

__all__ = ["BUILT_IN", "BytesTokenizer", "Tokenizer", "Utf8Stream", "WorldTokenizer", "check_size", "open_tokenizer", "tokenizer_for"]

BUILT_IN = {"world": 65530, "bytes": 256}  # tokenizers that need no file: their vocab_limit
PADDING = 256  # rows that a model's head may have beyond the tokens, to make its size round
MAX_FILE = 32 << 20


class Tokenizer(Protocol):
    """What the rest of the package knows of a tokenizer."""

    @property
    def name(self) -> str:
        """Its name in a manifest: what is built in (`world`, `bytes`), or what kind of file it is (`bpe`, `vocabulary`)."""

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


def tokenizer_for(name: str, file: bytes | None = None) -> Tokenizer:
    """The tokenizer that a manifest names, from its file unless it is built in. RwkvError `unknown-tokenizer` says what is needed; those of `open_tokenizer`."""
    if file is not None:
        return open_tokenizer(file)
    if name == "world":
        return WorldTokenizer.load()
    if name == "bytes":
        return BytesTokenizer()
    raise RwkvError(
        "unknown-tokenizer", name=str(name), expected="its file 20B_tokenizer.json" if name == "20b" else "world, bytes, or a file"
    )


def open_tokenizer(data: bytes, name: str = "the tokenizer's file") -> Tokenizer:
    """A Hugging Face `tokenizer.json` (byte-level BPE) or a vocabulary in World format, told apart by what is in it. RwkvError `bad-tokenizer`."""
    if len(data) > MAX_FILE:
        raise RwkvError("bad-tokenizer", name=name, reason=f"it is {len(data)} bytes long; {MAX_FILE} are allowed")
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        from py_rwkv.tokenizer.bpe import BpeTokenizer
        from py_rwkv.tokenizer.hugging_face import read_tokenizer_json

        return BpeTokenizer(read_tokenizer_json(data, name))
    from py_rwkv.tokenizer.vocabulary import parse, vocabulary

    try:
        return WorldTokenizer(vocabulary(parse(data)), "vocabulary")
    except ValueError as e:
        raise RwkvError("bad-tokenizer", name=name, reason=str(e)) from None


def check_size(name: str, tokens: int, vocab: int) -> None:
    """A tokenizer with this `vocab_limit` can be that of a model with a vocabulary of this size: its head has no less rows, and few more. `tokenizer-mismatch`."""
    if not vocab - PADDING < tokens <= vocab:
        raise RwkvError("tokenizer-mismatch", tokenizer=name, tokens=tokens, vocab=vocab)
