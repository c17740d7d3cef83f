"""Checkpoint → model: the whole way from a file's bytes to shards and a manifest, and the door through which models are opened natively."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.layout import FOLDED, layout
from py_rwkv.checkpoint.manifest import Manifest, Sampling, check_layout, choose_tokenizer
from py_rwkv.checkpoint.model_dir import MemoryShards, Shards, open_model_dir
from py_rwkv.checkpoint.pack import check_dtypes, pack
from py_rwkv.checkpoint.shards import LIMIT, MemorySink, ShardWriter, Sink
from py_rwkv.checkpoint.source import ByteSource, FileSource, HttpSource, ReadAhead
from py_rwkv.models.config import detect
from py_rwkv.quant import parse_strategy

Progress = Callable[[str, int, int], None]  # (tensor being read, bytes read so far, bytes to read in all)


def convert(
    source: ByteSource,
    sink: Sink,
    *,
    strategy: str | None = None,
    name: str | None = None,
    template: str = "world",
    sampling: Sampling | None = None,
    card: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    shard_limit: int = LIMIT,
) -> Manifest:
    """Read a `.pth` or `.safetensors` and write its packed model into `sink`, which is finished, or aborted if anything fails.

    strategy: see `parse_strategy`; None keeps the precision of the file (`natural_strategy`). What the headers tell is checked before the
    first weight is read. `progress` may raise to cancel. RwkvErrors: those of `open_checkpoint`, `detect`, `parse_strategy`, `pack`, the sink.
    """
    checkpoint = open_checkpoint(source)
    config = detect(checkpoint.shapes)
    plan = parse_strategy(strategy or natural_strategy(checkpoint))
    check_dtypes(checkpoint, config)
    writer = ShardWriter(sink, shard_limit)
    total, done = sum(checkpoint.tensors[name].nbytes for name in (*FOLDED, *(t.name for t in layout(config)))), 0

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
    """`f16` for a checkpoint whose matrices are all 16 bits wide, `f32` otherwise."""
    wide = any(t.dtype not in ("F16", "BF16") for t in checkpoint.tensors.values() if len(t.shape) == 2)
    return "f32" if wide else "f16"


def open_source(path: str | os.PathLike[str]) -> ByteSource:
    """A local path, or an http(s) URL."""
    text = os.fspath(path)
    return ReadAhead(HttpSource(text)) if text.startswith(("http://", "https://")) else FileSource(text)


def load_model(path: str | os.PathLike[str], *, strategy: str | None = None, progress: Progress | None = None) -> tuple[Manifest, Shards]:
    """A model directory (or its manifest.json), or a `.pth` or `.safetensors` (path or URL), then converted in memory with `strategy`."""
    text = os.fspath(path)
    if os.path.isdir(text):
        return open_model_dir(text)
    if os.path.basename(text) == "manifest.json":
        return open_model_dir(os.path.dirname(text) or ".")
    sink = MemorySink()
    manifest = convert(open_source(text), sink, strategy=strategy, progress=progress)
    return manifest, MemoryShards(manifest.shards, sink.shards)
