"""A model in several files: an index that says which tensor is where, or a Hugging Face folder, as one checkpoint. Where the files are is the caller's business."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from py_rwkv.checkpoint.checkpoint import Checkpoint, Table, open_checkpoint, read_table
from py_rwkv.checkpoint.dialects import Reader, renamed
from py_rwkv.checkpoint.safetensors import TensorInfo
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.errors import RwkvError

MAX_JSON = 16 << 20
MAX_FILES = 1 << 10
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
KNOWN = (INDEXES[0], "model.safetensors", INDEXES[1], "pytorch_model.bin")  # what is taken, in this order
ENDINGS = (".safetensors", ".st", ".pth", ".gguf")

Open = Callable[[str], ByteSource]  # a file of the folder by its name; RwkvError `missing-part` or `file-not-found`


@dataclass(frozen=True)
class _Part(TensorInfo):
    """A tensor of one of several files."""

    inner: TensorInfo
    reader: Reader


def open_index(index: ByteSource, open_file: Open) -> Checkpoint:
    """The files named in a `*.index.json` as one checkpoint. RwkvError: `bad-index`, `missing-tensor`, those of `open_file` and of the files."""
    files: dict[str, Table] = {}
    tensors: dict[str, TensorInfo] = {}
    size = 0
    for name, file in _weight_map(index).items():
        if file not in files:
            source = open_file(file)
            size += source.size
            files[file] = read_table(source)
        table = files[file]
        if name not in table.tensors:
            raise RwkvError("missing-tensor", name=name, expected=f"in {file}")
        t = table.tensors[name]
        tensors[name] = _Part(name, t.dtype, t.shape, t.offset, t.nbytes, t, table.reader)

    def read(t: TensorInfo, first: int, rows: int) -> bytes:
        assert isinstance(t, _Part)
        return t.reader(t.inner, first, rows)

    metadata = {key: value for table in files.values() for key, value in table.metadata.items()}
    return Checkpoint(index.name.removesuffix(".index.json"), tensors, metadata, read, size)


def open_folder(name: str, files: Collection[str], open_file: Open) -> Checkpoint:
    """The model in a folder with these files: those of KNOWN, else the only index or the only weights there.

    A `config.json` beside them is heeded. RwkvError: `not-a-model-folder`, `missing-part`, `bad-index`, `unsupported-architecture`.
    """
    weights = [file for file in sorted(files) if file.endswith(ENDINGS)]
    indexes = [file for file in files if file.endswith(".index.json")]
    only = next((found[0] for found in (indexes, weights) if len(found) == 1), "")
    first = next((file for file in KNOWN if file in files), only)
    if not first:
        found = ", ".join((weights or sorted(files))[:4]) or "nothing"
        raise RwkvError("not-a-model-folder", name=name, expected=f"{KNOWN[1]}, {KNOWN[0]}, or one {', '.join(ENDINGS)}", found=found[:300])

    def part(file: str) -> ByteSource:
        if file not in files:
            raise RwkvError("missing-part", name=file)
        return open_file(file)

    checkpoint = open_index(open_file(first), part) if first.endswith(".json") else open_checkpoint(open_file(first))
    checkpoint.name = name
    if "config.json" in files:
        heed(checkpoint, read_json(open_file("config.json")))
    return checkpoint


def heed(checkpoint: Checkpoint, config: dict[str, Any]) -> None:
    """What a Hugging Face config says that the tensors do not: a tied head, the eps of the group norm. Other deviations are refused."""

    def refuse(key: str, reason: str) -> NoReturn:
        raise RwkvError("unsupported-architecture", found=f"a model with {key} = {str(config[key])[:60]}", reason=reason)

    if config.get("tie_word_embeddings") is True and "head.weight" not in checkpoint.tensors and "emb.weight" in checkpoint.tensors:
        checkpoint.tensors["head.weight"] = renamed(checkpoint.tensors["emb.weight"], "head.weight")
    for key in ("layer_norm_epsilon", "norm_eps"):
        if config.get(key, 1e-5) != 1e-5:
            refuse(key, "only 1e-5 is supported.")
    if config.get("attn"):
        refuse("attn", "attention layers are not supported.")
    divisor = config.get("head_size_divisor")
    if isinstance(divisor, int | float) and 0 < divisor <= 100:
        checkpoint.group_norm_eps = 1e-5 * divisor * divisor
    elif isinstance(head := config.get("head_dim"), int) and 0 < head <= 1024:  # rwkv7 of flash-linear-attention
        checkpoint.group_norm_eps = 1e-5 * head


def read_json(source: ByteSource) -> dict[str, Any]:
    """RwkvError `bad-index`."""
    try:
        data = json.loads(source.read(0, source.size)) if source.size <= MAX_JSON else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise RwkvError("bad-index", name=source.name, reason="it is not a JSON object of a sensible size")
    return data


def _weight_map(index: ByteSource) -> dict[str, str]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(file, str) for file in table.values()):
        raise RwkvError("bad-index", name=index.name, reason="it has no weight_map from tensors to files")
    for file in set(table.values()):
        if not file or len(file) > 200 or file.startswith(".") or any(c in file for c in "/\\:\0?#%"):
            raise RwkvError("bad-index", name=index.name, reason=f"{file[:80]!r} is not the name of a file beside it")
    if len(set(table.values())) > MAX_FILES:
        raise RwkvError("bad-index", name=index.name, reason=f"it names more than {MAX_FILES} files")
    return table
