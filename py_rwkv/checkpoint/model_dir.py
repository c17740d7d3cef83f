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

    def tokenizer(self) -> bytes | None:
        """The tokenizer's file, if the manifest has one; RwkvErrors as above."""
        ...


class DirectoryShards:
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest

    def read(self, index: int) -> bytes:
        shard = self.manifest.shards[index]
        return self._verified(f"{shard.sha256}.safetensors", shard)

    def tokenizer(self) -> bytes | None:
        file = self.manifest.tokenizer_file
        return self._verified(self.manifest.tokenizer_name, Shard(file.sha256, file.bytes)) if file else None

    def _verified(self, name: str, shard: Shard) -> bytes:
        try:
            data = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise RwkvError("missing-shard", name=name) from None
        except OSError as e:
            raise RwkvError("unreadable-file", name=name, reason=e.strerror or str(e)) from e
        return verified(shard, data)


class MemoryShards:
    def __init__(self, shards: tuple[Shard, ...], data: dict[str, bytes], tokenizer: bytes | None = None) -> None:
        self.shards, self.data, self._tokenizer = shards, data, tokenizer

    def read(self, index: int) -> bytes:
        return self.data[self.shards[index].sha256]

    def tokenizer(self) -> bytes | None:
        return self._tokenizer


class OtherTokenizer:
    """The same shards, with another tokenizer's file or none."""

    def __init__(self, shards: Shards, tokenizer: bytes | None) -> None:
        self.read, self._tokenizer = shards.read, tokenizer

    def tokenizer(self) -> bytes | None:
        return self._tokenizer


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
    return manifest, DirectoryShards(folder, manifest)
