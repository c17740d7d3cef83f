"""Models out: one `.safetensors` under official names, from a checkpoint (every byte as it was) or from a packed model."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

from py_rwkv.checkpoint.checkpoint import Checkpoint
from py_rwkv.checkpoint.convert import open_weights
from py_rwkv.checkpoint.embedding import NORMALIZED
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import Shards, open_model_dir
from py_rwkv.checkpoint.official import OfficialTensor, TimeState, official_tensors
from py_rwkv.checkpoint.safetensors import ALIGN, ITEMSIZE
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Config, detect

AT_ONCE = 8 << 20  # bytes per write
FLOATS = {"F32": "<f4", "F16": "<f2"}


class Outgoing(NamedTuple):
    """A tensor to be written: `blocks()` gives its bytes, a part at a time."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[bytes]]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ITEMSIZE[self.dtype]


class Model(NamedTuple):
    """What can be written: its config, its tensors under official names, and what its file's `__metadata__` must say about them."""

    name: str
    config: Config
    tensors: list[Outgoing]
    metadata: Mapping[str, str] = {}


def open_export(path: str | os.PathLike[str]) -> Model:
    """A model directory, or anything for `open_weights`. RwkvErrors of opening, `cannot-export`."""
    text = os.fspath(path)
    folder = os.path.dirname(text) if os.path.basename(text) == "manifest.json" else text
    if os.path.isfile(os.path.join(folder, "manifest.json")):
        return from_packed(*open_model_dir(folder or "."))
    return from_checkpoint(open_weights(text))


def from_checkpoint(checkpoint: Checkpoint) -> Model:
    """The tensors of a checkpoint, in its precision. RwkvErrors of `detect`."""
    config = detect(checkpoint.shapes)
    if checkpoint.group_norm_eps is not None:
        config = replace(config, group_norm_eps=checkpoint.group_norm_eps)
    kept = {key: value for key, value in checkpoint.metadata.items() if key in NORMALIZED}

    def blocks(name: str) -> Iterator[bytes]:
        t = checkpoint.tensors[name]
        total = t.shape[0] if t.shape else 1
        step = max(1, AT_ONCE * total // max(1, t.nbytes))
        for first in range(0, total, step):
            yield checkpoint.read(name, first, min(step, total - first))

    def outgoing(name: str) -> Outgoing:
        t = checkpoint.tensors[name]
        return Outgoing(name, t.dtype, t.shape, lambda: blocks(name))

    return Model(checkpoint.name, config, [outgoing(name) for name in checkpoint.tensors], kept | _eps(config))


def from_packed(manifest: Manifest, shards: Shards) -> Model:
    """The tensors of a packed model: f16 and f32 as they are, others as the numbers they stand for. RwkvError `cannot-export`."""

    def outgoing(t: OfficialTensor | TimeState) -> Outgoing:
        return Outgoing(t.name, t.dtype, t.shape, lambda: [np.ascontiguousarray(t.numbers(), FLOATS[t.dtype]).tobytes()])

    tensors = [outgoing(t) for t in official_tensors(Weights(manifest, shards))]
    return Model(manifest.name, manifest.config, tensors, NORMALIZED | _eps(manifest.config))


def _eps(config: Config) -> dict[str, str]:
    """The tensors do not tell it; every released model has the default."""
    return (
        {} if config.version == "4" or config.group_norm_eps == Config.group_norm_eps else {"group_norm_eps": repr(config.group_norm_eps)}
    )


def export_safetensors(model: Model, path: str | os.PathLike[str]) -> int:
    """Write one `.safetensors` under official names; returns its size in bytes. RwkvError `cannot-write`, and whatever reading raises."""
    return write_safetensors(path, model.tensors, {"format": "pt", "rwkv_version": model.config.version, **model.metadata})


def write_safetensors(path: str | os.PathLike[str], tensors: Iterable[Outgoing], metadata: Mapping[str, str]) -> int:
    """A file that appears when it is complete: it is written under a temporary name beside it."""
    tensors = list(tensors)
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for t in tensors:
        if t.name in entries:
            raise RwkvError("duplicate-tensor", name=t.name, first=t.name, second=t.name)
        entries[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    head = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-(8 + len(head)) % ALIGN)
    with new_file(path) as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for t in tensors:
            written = sum(file.write(block) for block in t.blocks())
            if written != t.nbytes:
                raise RwkvError("internal", reason=f"{t.name} has {written} bytes instead of {t.nbytes}")
        return file.tell()


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """RwkvError `cannot-write`; nothing is left behind unless all goes well."""
    final, part = Path(path), Path(f"{os.fspath(path)}.part")
    try:
        with open(part, "wb") as file:
            yield file
        os.replace(part, final)
    except BaseException as e:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(e, OSError):
            raise RwkvError("cannot-write", name=str(e.filename or final), reason=e.strerror or str(e)) from e
        raise
