"""Checkpoint → model: the whole way from a file's bytes to shards and a manifest, and the door through which models are opened natively."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from math import prod
from pathlib import Path

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.dialects import stored_dtype
from py_rwkv.checkpoint.index import heed, open_folder, open_index, read_json
from py_rwkv.checkpoint.layout import FOLDED, layout
from py_rwkv.checkpoint.lora import Lora, parse_lora, with_lora
from py_rwkv.checkpoint.manifest import Manifest, Sampling, check_layout
from py_rwkv.checkpoint.model_dir import MemoryShards, OtherTokenizer, Shards, open_model_dir
from py_rwkv.checkpoint.pack import check_dtypes, pack
from py_rwkv.checkpoint.quantizer import Quantizer
from py_rwkv.checkpoint.resume import Resume
from py_rwkv.checkpoint.shards import LIMIT, MemorySink, ShardWriter, Sink
from py_rwkv.checkpoint.source import ByteSource, FileSource, HttpSource, ReadAhead
from py_rwkv.checkpoint.state_file import State, check_kind, check_state, start_pieces
from py_rwkv.checkpoint.time_state import default_state
from py_rwkv.checkpoint.tokenizer_file import beside, chosen
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import detect
from py_rwkv.quant import parse_strategy

WEB = ("http://", "https://")
Progress = Callable[[str, int, int], None]  # (tensor being read, bytes read so far, bytes to read in all)


def template_of(name: str) -> str:
    """The prompt template that a checkpoint of this name was trained with, as far as official names tell: `rwkv7-g1d-…`, `rwkv7-g1h-…`."""
    found = re.search(r"rwkv7[a-z]?-g(\d)([a-z]?)", name, re.IGNORECASE)
    if not found:
        return "world"
    return "g1h" if (int(found[1]), found[2].lower()) >= (1, "h") else "g1"


async def convert(
    source: ByteSource | Checkpoint,
    sink: Sink,
    *,
    strategy: str | None = None,
    name: str | None = None,
    template: str | None = None,
    sampling: Sampling | None = None,
    card: Mapping[str, str] | None = None,
    group_norm_eps: float | None = None,
    start: State | None = None,
    force: bool = False,
    tokenizer: str | bytes | None = None,
    progress: Progress | None = None,
    settle: Callable[[], Awaitable[None]] | None = None,
    quantizer: Quantizer | None = None,
    resume: Resume | None = None,
    shard_limit: int = LIMIT,
) -> Manifest:
    """Read a model file, or what was opened before, and write its packed model into `sink`, which is finished, or aborted if anything fails.

    strategy: see `parse_strategy`; None keeps the precision of the file (`natural_strategy`). group_norm_eps: for a model that was not trained with the
    64e-5 of all released ones. template: None for `template_of` its name. start: the state with which every session will begin, instead of the one that
    the checkpoint may hold; `force` takes one that was made with other weights. tokenizer: a name or the content of a file (`tokenizer_file.chosen`).
    What the headers tell is checked before the first weight is read. `progress` may raise to cancel; `settle` is awaited after every tensor (a sink may have to
    catch up). `quantizer`: numpy if None. `resume`: goes on where an interrupted conversion was.
    RwkvErrors: those of `open_checkpoint`, `detect`, `parse_strategy`, `check_state`, `pack`, the sink.
    """
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    config = detect(checkpoint.shapes)
    eps = checkpoint.group_norm_eps if group_norm_eps is None else group_norm_eps
    if eps is not None:
        config = replace(config, group_norm_eps=eps)
    plan = parse_strategy(strategy or natural_strategy(checkpoint))
    check_dtypes(checkpoint, config)
    if start := start or default_state(checkpoint, config):
        check_kind(start, config)
    words = chosen(config.vocab, tokenizer)
    resume = resume or Resume()
    writer = ShardWriter(sink, shard_limit, resume.begun(checkpoint, config, plan.text))
    resume.writer = writer
    total, done = sum(checkpoint.tensors[name].nbytes for name in (*FOLDED, *(t.source for t in layout(config)))), 0

    def count(tensor: str, nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress:
            progress(tensor, done, total)

    checkpoint.on_read = count
    sources = {t.name: checkpoint.tensors[t.source].nbytes for t in layout(config)}

    def done_before(name: str) -> bool:
        """Of a matrix, the weights are what is written last."""
        if name not in writer.index or writer.written(name) < writer.index[name].shape[0]:
            return False
        count(name, sources[name] + (sum(checkpoint.tensors[n].nbytes for n in FOLDED) if name == "emb.weight" else 0))
        return True

    try:
        async with aclosing(pack(checkpoint, config, plan, quantizer, done_before if writer.shards else None)) as tensors:
            async for tensor in tensors:
                writer.add(tensor)
                if settle:
                    await settle()
        writer.cut()  # the weights' shards are the same with and without a default state
        for tensor in start_pieces(start) if start else ():
            writer.add(tensor)
        writer.close()
        manifest = Manifest(
            name=name or Path(source.name).stem,
            config=config,
            quantization=plan.text,
            tokenizer=words.tokenizer,
            tokenizer_file=words.tokenizer_file,
            template=template or template_of(source.name),
            sampling=sampling or Sampling(),
            tensors=writer.index,
            shards=tuple(writer.shards),
            card=dict(card or {}),
            source={"file": source.name, "bytes": source.size},
        )
        check_layout(manifest)
        if start:
            check_state(start, manifest, force=force)
        if words.data is not None:
            sink.tokenizer(manifest.tokenizer_name, words.data)
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


def open_lora(text: str) -> Lora:
    """A LoRA file as the command line names it (`parse_lora`)."""
    path, alpha, blend = parse_lora(text)
    return Lora(open_source(path), alpha, blend)


def open_weights(path: str | os.PathLike[str]) -> Checkpoint:
    """Whatever holds a model's weights: a `.pth`, `.safetensors`, `.st` or GGUF file or a `*.index.json` (path or URL), or a Hugging Face folder."""
    text = os.fspath(path)
    if os.path.isdir(text):
        files = sorted(file for file in os.listdir(text) if os.path.isfile(os.path.join(text, file)))
        return open_folder(os.path.basename(os.path.abspath(text)), files, lambda file: FileSource(os.path.join(text, file)))
    if not text.split("?")[0].endswith(".index.json"):
        return open_checkpoint(open_source(text))
    checkpoint = open_index(open_source(text), lambda file: _sibling(text, file))
    try:
        config = _sibling(text, "config.json")
    except RwkvError as e:
        if e.code != "file-not-found" and " 404" not in str(e.details.get("reason")):
            raise
    else:
        heed(checkpoint, read_json(config))
    return checkpoint


def _sibling(text: str, file: str) -> ByteSource:
    """The file of this name beside a path or URL."""
    if not text.startswith(WEB):
        return FileSource(os.path.join(os.path.dirname(text), file))
    from urllib.parse import quote, urljoin

    return open_source(urljoin(text, quote(file)))


async def load_model(
    path: str | os.PathLike[str],
    *,
    strategy: str | None = None,
    loras: Sequence[Lora] = (),
    group_norm_eps: float | None = None,
    tokenizer: str | bytes | None = None,
    progress: Progress | None = None,
) -> tuple[Manifest, Shards]:
    """A model directory (or its manifest.json), or anything for `open_weights`, then converted in memory with the other arguments.

    tokenizer: as in `convert`, also in place of a directory's own; for a checkpoint, None takes the file `beside` it.
    RwkvError `bad-setting` for loras or an eps with a model directory, which was converted before.
    """
    text = os.fspath(path)
    folder = os.path.dirname(text) or "." if os.path.basename(text) == "manifest.json" else text
    if folder != text or os.path.isfile(os.path.join(text, "manifest.json")):
        if loras or group_norm_eps is not None:
            name = "the model, with a LoRA" if loras else "the model, with group_norm_eps"
            raise RwkvError("bad-setting", name=name, expected="a checkpoint", found=f"a model that was converted already ({text})")
        manifest, stored = open_model_dir(folder)
        if tokenizer is None:
            return manifest, stored
        words = chosen(manifest.config.vocab, tokenizer)
        return words.into(manifest), OtherTokenizer(stored, words.data)
    sink, weights = MemorySink(), with_lora(open_weights(text), loras)
    if tokenizer is None:
        tokenizer = beside(text, detect(weights.shapes).vocab)
    manifest = await convert(weights, sink, strategy=strategy, group_norm_eps=group_norm_eps, tokenizer=tokenizer, progress=progress)
    return manifest, MemoryShards(manifest.shards, sink.shards, sink.tokenizer_file)
