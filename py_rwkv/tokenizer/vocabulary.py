"""The vocabulary file: the published text (`rwkv_vocab_v20230424.txt`) packed into one compact blob, and back. Nothing of encoding or decoding.

Text, one line per token: `ID LITERAL LENGTH`; the literal is a Python `'…'`/`"…"` (UTF-8) or `b'…'` and may contain spaces and U+0085/U+2028, so lines end at b"\\n" only.
Ids may have gaps. The World vocabulary has every single byte; others need not, and then some text cannot be encoded.

Blob: magic, then zlib of
    u32 runs, prefixes, choices bytes                         header
    (u32 length, u32 count) per run                           consecutive ids of equal length, from id 0; length 0 = ids without a token
    token bytes, in id order
    2 bytes per prefix, then u16 per prefix, then choices     which token lengths exist behind each two-byte prefix, longest first
The prefix table costs 13 kB and saves building it from 65529 tokens at every start; splitting runs is one C call each, which keeps loading under 50 ms in Pyodide.

Imports the standard library only and nothing of this package: the build loads this file by its path.
"""

from __future__ import annotations

import struct
import zlib
from itertools import chain, groupby
from typing import NamedTuple

MAGIC = b"RWKVVOC1"
BOM = b"\xef\xbb\xbf"
MAX_LINE = 2048  # bytes; a token has at most 255, an escape 4
MAX_ID = 1 << 20


class Vocabulary(NamedTuple):
    """tokens: id → bytes (b"" where there is none); ids: bytes → id; lengths: two-byte prefix → token lengths to try, longest first, as bytes."""

    tokens: list[bytes]
    ids: dict[bytes, int]
    lengths: dict[bytes, bytes]


def parse(text: bytes) -> list[bytes]:
    """Vocabulary text → token bytes by id, b"" at ids that have none. ValueError names the first bad line."""
    found: dict[int, bytes] = {}
    for number, raw in enumerate(text.removeprefix(BOM).split(b"\n"), 1):
        if raw := raw.removesuffix(b"\r"):
            try:
                token_id, token, size = _line(raw)
            except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
                raise ValueError(f"line {number} is not `ID LITERAL LENGTH`: {_shown(raw)}") from error
            if len(token) != size or not 0 < size < 256 or not 0 <= token_id < MAX_ID or token_id in found:
                raise ValueError(f"line {number}: wrong literal, length or repeated id: {_shown(raw)}")
            found[token_id] = token
    if not found:
        raise ValueError("it has no tokens")
    if len(set(found.values())) != len(found):
        raise ValueError("the same token occurs twice")
    return [found.get(token_id, b"") for token_id in range(max(found) + 1)]


def _line(raw: bytes) -> tuple[int, bytes, int]:
    """(id, token, length) of a line. ValueError, and what `ast.literal_eval` raises."""
    if len(raw) > MAX_LINE:
        raise ValueError("too long")
    number, _, rest = raw.decode("utf-8").partition(" ")
    text, _, size = rest.rpartition(" ")
    text = text.strip(" ")
    quote = text[-1:]
    if quote not in ("'", '"') or text.removeprefix("b")[:1] != quote or len(text) < 3:
        raise ValueError("not a literal")
    if "\\" in text or text[0] == "b":
        from ast import literal_eval  # most lines of 65529 need no parser

        literal: str | bytes = literal_eval(text)
    elif quote in (literal := text[1:-1]):
        raise ValueError("a quote inside")
    return int(number), literal.encode("utf-8") if isinstance(literal, str) else literal, int(size)


def _shown(raw: bytes) -> str:
    return repr(raw[:60].decode("utf-8", "replace"))


def vocabulary(tokens: list[bytes]) -> Vocabulary:
    """Token bytes by id → what a tokenizer needs."""
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    ids.pop(b"", None)
    return Vocabulary(tokens, ids, _lengths(tokens))


def _lengths(tokens: list[bytes]) -> dict[bytes, bytes]:
    behind: dict[bytes, set[int]] = {}
    for token in tokens:
        if len(token) > 1:
            behind.setdefault(token[:2], {1}).add(len(token))
    return {prefix: bytes(sorted(lengths, reverse=True)) for prefix, lengths in sorted(behind.items())}


def pack(text: bytes) -> bytes:
    """Published vocabulary text → blob. ValueError if the text is not a vocabulary that can encode everything."""
    tokens = parse(text)
    if missing := {bytes([byte]) for byte in range(256)} - set(tokens):
        raise ValueError(f"{len(missing)} single bytes have no token, so some text could not be encoded")
    runs = [(length, len(list(group))) for length, group in groupby(map(len, tokens))]
    choice_of = _lengths(tokens)
    choices = sorted(set(choice_of.values()))
    body = b"".join(
        [
            struct.pack("<3I", len(runs), len(choice_of), sum(len(choice) + 1 for choice in choices)),
            struct.pack(f"<{2 * len(runs)}I", *chain.from_iterable(runs)),
            *tokens,
            *choice_of,
            struct.pack(f"<{len(choice_of)}H", *(choices.index(choice) for choice in choice_of.values())),
            *(choice + b"\0" for choice in choices),
        ]
    )
    return MAGIC + zlib.compress(body, 9)


def unpack(blob: bytes) -> Vocabulary:
    """Blob → Vocabulary. ValueError if it is damaged (zlib checks the content)."""
    if not blob.startswith(MAGIC):
        raise ValueError("not a packed vocabulary")
    try:
        body = memoryview(zlib.decompress(blob[len(MAGIC) :]))
        run_count, prefix_count, choice_bytes = struct.unpack_from("<3I", body)
        at = 12 + 8 * run_count
        tokens: list[bytes] = []
        for length, count in struct.iter_unpack("<2I", body[12:at]):
            if length:
                tokens += chain.from_iterable(struct.iter_unpack(f"{length}s", body[at : at + length * count]))
            else:
                tokens += [b""] * count
            at += length * count
        prefixes = chain.from_iterable(struct.iter_unpack("2s", body[at : at + 2 * prefix_count]))
        at += 2 * prefix_count
        chosen = struct.unpack_from(f"<{prefix_count}H", body, at)
        at += 2 * prefix_count
        if at + choice_bytes != len(body):
            raise ValueError("lengths do not add up")
        choices = bytes(body[at:]).split(b"\0")
    except (zlib.error, struct.error) as error:
        raise ValueError(f"damaged vocabulary: {error}") from error
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    ids.pop(b"", None)
    return Vocabulary(tokens, ids, dict(zip(prefixes, map(choices.__getitem__, chosen), strict=True)))
