"""The table of contents of a zip file, read through a ByteSource: uncompressed entries only, zip64 included, every offset checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError

MAX_DIRECTORY = 32 << 20
END, END64, LOCATOR64, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"


@dataclass(frozen=True)
class ZipEntry:
    """A stored file: `size` bytes behind the local header at `header`."""

    name: str
    header: int
    size: int


def read_directory(source: ByteSource) -> dict[str, ZipEntry]:
    """The entries by name. RwkvError `bad-pth` if the directory contradicts itself or anything is compressed."""

    def bad(reason: str) -> NoReturn:
        raise RwkvError("bad-pth", name=source.name, reason=reason)

    tail = source.read(max(0, source.size - (1 << 16) - 22), min(source.size, (1 << 16) + 22))
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        bad("the end of the zip file is missing (an incomplete download?)")
    disk, start_disk, _, count, size, offset = struct.unpack("<4H2I", tail[at + 4 : at + 20])
    if at >= 20 and tail[at - 20 : at - 16] == LOCATOR64:
        (end64,) = struct.unpack("<Q", tail[at - 12 : at - 4])
        if end64 + 56 > source.size:
            bad("its zip64 record lies outside the file")
        record = source.read(end64, 56)
        if record[:4] != END64:
            bad("its zip64 record is damaged")
        disk, start_disk, _, count, size, offset = struct.unpack("<2I4Q", record[16:56])
    if disk or start_disk:
        bad("it is one part of a split zip file")
    if size > MAX_DIRECTORY or offset + size > source.size or count * 46 > size:
        bad("its zip directory lies outside the file or is absurdly large")

    directory, entries, at = source.read(offset, size), {}, 0
    for _ in range(count):
        if directory[at : at + 4] != ENTRY or at + 46 > size:
            bad("its zip directory is damaged")
        flags, method = struct.unpack("<2H", directory[at + 8 : at + 12])
        packed, unpacked, name_len, extra_len, comment_len = struct.unpack("<2I3H", directory[at + 20 : at + 34])
        (header,) = struct.unpack("<I", directory[at + 42 : at + 46])
        name = directory[at + 46 : at + 46 + name_len].decode("utf-8", "replace")
        extra = directory[at + 46 + name_len : at + 46 + name_len + extra_len]
        unpacked, packed, header = _zip64(extra, unpacked, packed, header)
        if method or flags & 1 or packed != unpacked:
            bad(f"its entry {name[:80]} is compressed or encrypted")
        if header + 30 + name_len + packed > offset:
            bad(f"its entry {name[:80]} lies outside the file")
        if name in entries:
            bad(f"its entry {name[:80]} occurs twice")
        entries[name] = ZipEntry(name, header, packed)
        at += 46 + name_len + extra_len + comment_len

    in_order = sorted(entries.values(), key=lambda e: e.header)
    for a, b in pairwise(in_order):
        if a.header + 30 + a.size > b.header:
            bad(f"its entries {a.name[:80]} and {b.name[:80]} overlap")
    return entries


def data_offset(source: ByteSource, entry: ZipEntry) -> int:
    """Where the entry's data starts: behind its local header, whose length only that header tells."""
    local = source.read(entry.header, 30)
    name_len, extra_len = struct.unpack("<2H", local[26:30])
    start: int = entry.header + 30 + name_len + extra_len
    if local[:4] != LOCAL or start + entry.size > source.size:
        raise RwkvError("bad-pth", name=source.name, reason=f"the local header of its entry {entry.name[:80]} is damaged")
    return start


def _zip64(extra: bytes, unpacked: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three fields, those that are all ones replaced by the values in the zip64 extra field (in this order, only those)."""
    fields, at = [unpacked, packed, header], 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack("<2H", extra[at : at + 4])
        if tag == 1:
            body = extra[at + 4 : at + 4 + length]
            for i, field in enumerate(fields):
                if field == 0xFFFFFFFF and len(body) >= 8:
                    fields[i], body = int.from_bytes(body[:8], "little"), body[8:]
        at += 4 + length
    return fields[0], fields[1], fields[2]
