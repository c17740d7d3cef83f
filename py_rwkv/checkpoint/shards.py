"""Packed tensors → safetensors shards named by their sha256, and where they go: a directory, or memory.

Inside a shard every tensor starts at a multiple of 4 bytes and may be read up to the next multiple of 4: small tensors named `~pad.N`
fill the gaps that safetensors forbids.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from py_rwkv.checkpoint.manifest import FORMAT, Manifest, Shard, Stored, StoredPiece
from py_rwkv.checkpoint.safetensors import Piece, header
from py_rwkv.errors import RwkvError

LIMIT = 32 << 20
SHARD_NAME = re.compile(r"[0-9a-f]{64}\.(safetensors|json|txt)")  # or a tokenizer's file
HEADER_PER_TENSOR = 160  # more than a header entry takes, beside the name


class Sink(Protocol):
    """Takes shards as they are made; the model exists when `finish` returns, and nothing of it after `abort`."""

    def shard(self, sha256: str, data: bytes) -> None: ...
    def tokenizer(self, name: str, data: bytes) -> None:
        """The file that the manifest calls `tokenizer_name`, if it has one."""

    def finish(self, manifest: Manifest) -> None: ...
    def abort(self) -> None: ...


class ShardWriter:
    """Feed tensors with `add`, then `close`; `index` and `shards` are then what the manifest says about them. `begun`: the index and the shards of a writer that
    was interrupted; what is in them is not written again."""

    def __init__(self, sink: Sink, limit: int = LIMIT, begun: tuple[dict[str, Stored], list[Shard]] | None = None) -> None:
        self.sink, self.limit = sink, limit
        self.index, self.shards = begun or ({}, [])
        self._open: list[tuple[str, int, Piece]] = []  # tensor name, first row, piece; the shard being filled
        self._used = 0

    def add(self, tensor: Piece) -> None:
        """A tensor that fits into one shard stays whole; a larger one is cut between rows into pieces `NAME@FIRSTROW`."""
        first, rows = self.written(tensor.name), tensor.shape[0]
        if first == 0:
            self.index[tensor.name] = Stored(tensor.dtype, tensor.shape, ())
        if first == 0 and self._cost(tensor) <= self.limit:
            return self._append(tensor.name, 0, tensor)
        data = memoryview(tensor.data)
        row = len(data) // rows
        while first < rows:
            count = (self.limit - self._used - 2 * HEADER_PER_TENSOR - len(tensor.name)) // row  # the rest of this shard
            count = min(count - count % 4, rows - first)  # so that pieces end at multiples of 4 bytes
            if count > 0:
                piece = Piece(f"{tensor.name}@{first}", tensor.dtype, (count, *tensor.shape[1:]), data[first * row : (first + count) * row])
                self._append(tensor.name, first, piece)
                first += count
            elif self._open:
                self._flush()
            else:
                raise RwkvError("internal", reason=f"four rows of {tensor.name} ({4 * row} bytes) do not fit into a shard")

    def written(self, name: str) -> int:
        """How many rows of a tensor are in shards that are done."""
        found = self.index.get(name)
        return sum(p.nbytes for p in found.pieces) * found.shape[0] // found.nbytes if found else 0

    def cut(self) -> None:
        """What comes next goes into a new shard."""
        self._flush()

    def close(self) -> None:
        self._flush()

    def _cost(self, p: Piece) -> int:
        return len(p.data) + HEADER_PER_TENSOR + len(p.name) + (HEADER_PER_TENSOR + 12 if len(p.data) % 4 else 0)

    def _append(self, name: str, first_row: int, piece: Piece) -> None:
        if self._used + self._cost(piece) > self.limit:
            self._flush()
        self._open.append((name, first_row, piece))
        if pad := -len(piece.data) % 4:
            self._open.append(("", 0, Piece(f"~pad.{len(self._open)}", "U8", (pad,), bytes(pad))))
        self._used += self._cost(piece)

    def _flush(self) -> None:
        if not self._open:
            return
        pieces = [p for _, _, p in self._open]
        head = header(pieces)
        at = len(head)
        for name, first_row, p in self._open:
            if name:
                t = self.index[name]
                self.index[name] = Stored(t.dtype, t.shape, (*t.pieces, StoredPiece(len(self.shards), at, len(p.data), first_row)))
            at += len(p.data)
        data = b"".join([head, *(p.data for p in pieces)])
        self._open, self._used = [], 0
        digest = sha256(data).hexdigest()
        self.shards.append(Shard(digest, len(data)))
        self.sink.shard(digest, data)


class MemorySink:
    """Keeps the shards in a dictionary {sha256: bytes}."""

    def __init__(self) -> None:
        self.shards: dict[str, bytes] = {}
        self.tokenizer_file: bytes | None = None
        self.manifest: Manifest | None = None

    def shard(self, sha256: str, data: bytes) -> None:
        self.shards[sha256] = data

    def tokenizer(self, name: str, data: bytes) -> None:
        self.tokenizer_file = data

    def finish(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def abort(self) -> None:
        self.shards.clear()


class DirectorySink:
    """Writes a model directory: each file under a temporary name first, the manifest last; an older model there is replaced at the end.

    RwkvError: `destination-in-use` if the directory holds anything but a model, `cannot-write` (full disk, missing permission).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._created: list[Path] = []
        with _writing(self.path):
            present = {p.name for p in self.path.iterdir()} if self.path.exists() else set()
            ours = "manifest.json" in present and FORMAT.encode() in (self.path / "manifest.json").read_bytes()[:200]
        left_over = {n for n in present if SHARD_NAME.fullmatch(n.removesuffix(".part")) or n == "manifest.json.part"}
        if not ours and present - left_over:
            raise RwkvError("destination-in-use", name=str(path), found=min(present - left_over))
        self._before = {n for n in present if SHARD_NAME.fullmatch(n)}
        self._kept: set[str] = set()

    def shard(self, sha256: str, data: bytes) -> None:
        self._write(f"{sha256}.safetensors", data)

    def tokenizer(self, name: str, data: bytes) -> None:
        self._write(name, data)

    def finish(self, manifest: Manifest) -> None:
        self._write("manifest.json", manifest.to_json().encode())
        with _writing(self.path):
            for name in self._before - self._kept:
                (self.path / name).unlink(missing_ok=True)

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            for path in self._created:
                path.unlink(missing_ok=True)
            self.path.rmdir()  # only if it is empty

    def _write(self, name: str, data: bytes) -> None:
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            part = self.path / f"{name}.part"
            self._created += [part] if name in self._before else [part, self.path / name]
            part.write_bytes(data)
            os.replace(part, self.path / name)
            self._kept.add(name)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise RwkvError("cannot-write", name=str(e.filename or path), reason=e.strerror or str(e)) from e
