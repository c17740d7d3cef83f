"""GPT-2's pre-tokenizer: text → words, and bytes ↔ the printable characters in which a byte-level vocabulary spells them.

The pattern is  's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+  (Radford et al. 2019, encoder.py). Python's `re` has no \\p, but
`[^\\W\\d_]` is \\p{L} and `\\d` is \\p{N} for all characters but two kinds: numerals that are no decimal digits (½, Ⅷ), and the separators U+001C–U+001F, which
are white space to Python only. Stand-ins of the same length take their places while the pattern looks at the text.
"""

from __future__ import annotations

import re
from codecs import charmap_encode
from functools import lru_cache

_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
_SEPARATORS = dict.fromkeys(range(0x1C, 0x20), "!")


def words(text: str) -> list[str]:
    """The words of a text; joined they are the text."""
    stand_ins: dict[int, str] = {ord(c): "0" for c in set(text) if c.isnumeric() and not c.isdecimal() and not c.isalpha()}
    looks = text.translate(stand_ins | _SEPARATORS)
    if looks == text:
        return _WORDS.findall(text)
    return [text[m.start() : m.end()] for m in _WORDS.finditer(looks)]


@lru_cache(maxsize=1)
def alphabet() -> dict[int, str]:
    """Byte → its character: printable Latin-1 stands for itself, the others follow from U+0100 on in their order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


@lru_cache(maxsize=1)
def _bytes_of() -> dict[int, int]:
    return {ord(character): byte for byte, character in alphabet().items()}


def spelled_bytes(token: str) -> bytes:
    """The bytes that a token spells; its own UTF-8 if it has a character from outside the alphabet."""
    try:
        return charmap_encode(token, "strict", _bytes_of())[0]
    except UnicodeEncodeError:
        return token.encode("utf-8", "replace")
