"""Checkpoint → model: the whole way from a file's bytes to shards and a manifest, and the door through which models are opened natively."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.dialects import stored_dtype
from py_rwkv.checkpoint.index import open_folder, open_index
from py_rwkv.checkpoint.layout import FOLDED, layout
from py_rwkv.checkpoint.manifest import Manifest, Sampling, check_layout, choose_tokenizer
from py_rwkv.checkpoint.model_dir import MemoryShards, Shards, open_model_dir
from py_rwkv.checkpoint.pack import check_dtypes, pack
from py_rwkv.checkpoint.shards import LIMIT, MemorySink, ShardWriter, Sink
from py_rwkv.checkpoint.source import ByteSource, FileSource, HttpSource, ReadAhead
from py_rwkv.models.config import detect
from py_rwkv.quant import parse_strategy

WEB = ("http://", "https://")
Progress = Callable[[str, int, int], None]  # (tensor being read, bytes read so far, bytes to read in all)


def convert(
    source: ByteSource | Checkpoint,
    sink: Sink,
    *,
    strategy: str | None = None,
    name: str | None = None,
    template: str = "world",
    sampling: Sampling | None = None,
    card: Mapping[str, str] | None = None,
    group_norm_eps: float | None = None,
    progress: Progress | None = None,
    shard_limit: int = LIMIT,
) -> Manifest:
    """Read a model file, or what was opened before, and write its packed model into `sink`, which is finished, or aborted if anything fails.

    strategy: see `parse_strategy`; None keeps the precision of the file (`natural_strategy`). group_norm_eps: for a model that was not trained
    with the 64e-5 of all released ones. What the headers tell is checked before the
    first weight is read. `progress` may raise to cancel. RwkvErrors: those of `open_checkpoint`, `detect`, `parse_strategy`, `pack`, the sink.
    """
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    config = detect(checkpoint.shapes)
    eps = checkpoint.group_norm_eps if group_norm_eps is None else group_norm_eps
    if eps is not None:
        config = replace(config, group_norm_eps=eps)
    plan = parse_strategy(strategy or natural_strategy(checkpoint))
    check_dtypes(checkpoint, config)
    writer = ShardWriter(sink, shard_limit)
    total, done = sum(checkpoint.tensors[name].nbytes for name in (*FOLDED, *(t.source for t in layout(config)))), 0

    def count(tensor: str, nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress:
            progress(tensor, done, total)

    checkpoint.on_read = count
    try:
        for tensor in pack(checkpoint, config, plan):
            writer.add(tensor)
        writer.close()
        manifest = Manifest(
            name=name or Path(source.name).stem,
            config=config,
            quantization=plan.text,
            tokenizer=choose_tokenizer(config.vocab),
            template=template,
            sampling=sampling or Sampling(),
            tensors=writer.index,
            shards=tuple(writer.shards),
            card=dict(card or {}),
            source={"file": source.name, "bytes": source.size},
        )
        check_layout(manifest)
        sink.finish(manifest)
    except BaseException:
        sink.abort()
        raise
    return manifest


def natural_strategy(checkpoint: Checkpoint) -> str:
    """`f32` if most weights of the checkpoint's matrices are stored in 32 bits, otherwise `f16`, also for a quantized GGUF."""
    sizes = {True: 0, False: 0}
    for t in checkpoint.tensors.values():
        if len(t.shape) == 2:
            sizes[stored_dtype(t) in ("F32", "F64")] += prod(t.shape)
    return "f32" if sizes[True] >= sizes[False] else "f16"


def open_source(path: str | os.PathLike[str]) -> ByteSource:
    """A local path, or an http(s) URL."""
    text = os.fspath(path)
    return ReadAhead(HttpSource(text)) if text.startswith(WEB) else FileSource(text)


def open_weights(path: str | os.PathLike[str]) -> Checkpoint:
    """Whatever holds a model's weights: a `.pth`, `.safetensors`, `.st` or GGUF file or a `*.index.json` (path or URL), or a Hugging Face folder."""
    text = os.fspath(path)
    if os.path.isdir(text):
        files = sorted(file for file in os.listdir(text) if os.path.isfile(os.path.join(text, file)))
        return open_folder(os.path.basename(os.path.abspath(text)), files, lambda file: FileSource(os.path.join(text, file)))
    if not text.split("?")[0].endswith(".index.json"):
        return open_checkpoint(open_source(text))
    if text.startswith(WEB):
        from urllib.parse import quote, urljoin

        return open_index(open_source(text), lambda file: open_source(urljoin(text, quote(file))))
    return open_index(open_source(text), lambda file: FileSource(os.path.join(os.path.dirname(text), file)))


def load_model(
    path: str | os.PathLike[str], *, strategy: str | None = None, group_norm_eps: float | None = None, progress: Progress | None = None
) -> tuple[Manifest, Shards]:
    """A model directory (or its manifest.json), or anything for `open_weights`, then converted in memory with the other arguments."""
    text = os.fspath(path)
    if os.path.isfile(os.path.join(text, "manifest.json")):
        return open_model_dir(text)
    if os.path.basename(text) == "manifest.json":
        return open_model_dir(os.path.dirname(text) or ".")
    sink = MemorySink()
    manifest = convert(open_weights(text), sink, strategy=strategy, group_norm_eps=group_norm_eps, progress=progress)
    return manifest, MemoryShards(manifest.shards, sink.shards)
