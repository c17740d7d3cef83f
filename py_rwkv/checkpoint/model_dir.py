"""A model directory, read: the manifest, and shards that are verified each time they are read."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from py_rwkv.checkpoint.manifest import MAX_JSON, Manifest, Shard
from py_rwkv.errors import RwkvError


class Shards(Protocol):
    """The shards of one model, by their number in its manifest."""

    def read(self, index: int) -> bytes:
        """The whole file; RwkvError `missing-shard` or `shard-mismatch` unless its sha256 is right."""
        ...


class DirectoryShards:
    def __init__(self, path: Path, shards: tuple[Shard, ...]) -> None:
        self.path, self.shards = path, shards

    def read(self, index: int) -> bytes:
        shard = self.shards[index]
        name = f"{shard.sha256}.safetensors"
        try:
            data = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise RwkvError("missing-shard", name=name) from None
        except OSError as e:
            raise RwkvError("unreadable-file", name=name, reason=e.strerror or str(e)) from e
        return verified(shard, data)


class MemoryShards:
    def __init__(self, shards: tuple[Shard, ...], data: dict[str, bytes]) -> None:
        self.shards, self.data = shards, data

    def read(self, index: int) -> bytes:
        return self.data[self.shards[index].sha256]


def verified(shard: Shard, data: bytes) -> bytes:
    """`data`, if it is this shard (`shard-mismatch` otherwise)."""
    found = sha256(data).hexdigest() if len(data) == shard.bytes else f"{len(data)} bytes"
    if found != shard.sha256:
        raise RwkvError("shard-mismatch", expected=f"{shard.sha256} ({shard.bytes} bytes)", found=found)
    return data


def open_model_dir(path: str | os.PathLike[str]) -> tuple[Manifest, DirectoryShards]:
    """RwkvError: `not-a-model-directory`, `bad-manifest`, `unreadable-file`."""
    folder = Path(path)
    file = folder / "manifest.json"
    try:
        if file.stat().st_size > MAX_JSON:
            raise RwkvError("bad-manifest", reason=f"it is {file.stat().st_size} bytes long")
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RwkvError("not-a-model-directory", name=str(path)) from None
    except OSError as e:
        raise RwkvError("unreadable-file", name=str(file), reason=e.strerror or str(e)) from e
    manifest = Manifest.from_json(text)
    return manifest, DirectoryShards(folder, manifest.shards)
