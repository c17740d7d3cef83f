"""Streaming UTF-8: bytes of tokens in, whole characters out. Tokens may end in the middle of a character; text shown to a person must not."""

from __future__ import annotations

import codecs

_decoder = codecs.getincrementaldecoder("utf-8")


class Utf8Stream:
    """Joined, the texts equal `b"".join(pieces).decode("utf-8", "replace")`, however the bytes are cut."""

    def __init__(self) -> None:
        self._decoder = _decoder("replace")

    def feed(self, data: bytes) -> str:
        """The characters that are complete by now; a trailing incomplete one waits for its rest."""
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What is left: U+FFFD for an incomplete character, otherwise nothing. The stream can be used again afterwards."""
        text = self._decoder.decode(b"", True)
        self._decoder.reset()
        return text


def utf8(text: str) -> bytes:
    """UTF-8 of any Python string: surrogate pairs are joined, lone surrogates (a cut emoji from JavaScript) become U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode("utf-8")
