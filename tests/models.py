"""Models for tests: official-name arrays → a packed model in memory, and an engine on any device."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from make_pth import save

from py_rwkv.checkpoint.checkpoint import Checkpoint
from py_rwkv.checkpoint.convert import convert, load_model
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import MemoryShards, Shards
from py_rwkv.checkpoint.pack import pack
from py_rwkv.checkpoint.safetensors import Piece
from py_rwkv.checkpoint.shards import MemorySink, Sink
from py_rwkv.checkpoint.source import ByteSource, BytesSource
from py_rwkv.models.config import Config
from py_rwkv.native import _Ready
from py_rwkv.quant import Strategy
from py_rwkv.runtime.engine import Engine

T = TypeVar("T")


def packed(weights: dict[str, np.ndarray], strategy: str = "f32") -> tuple[Manifest, MemoryShards]:
    """A checkpoint with these weights, written as `.pth` and converted."""
    sink = MemorySink()
    manifest = converted(BytesSource("random.pth", save(weights)), sink, strategy=strategy)
    return manifest, MemoryShards(manifest.shards, sink.shards)


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a thread: Playwright's synchronous API keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def converted(source: ByteSource | Checkpoint, sink: Sink, **options: Any) -> Manifest:
    return finished(convert(source, sink, **options))


def loaded(path: Any, **options: Any) -> tuple[Manifest, Shards]:
    return finished(load_model(path, **options))


def pieces(checkpoint: Checkpoint, config: Config, strategy: Strategy, **options: Any) -> list[Piece]:
    """All packed tensors of a checkpoint."""

    async def collect() -> list[Piece]:
        return [piece async for piece in pack(checkpoint, config, strategy, **options)]

    return finished(collect())


async def engine_of(weights: dict[str, np.ndarray], device: Any, strategy: str = "f32", slots: int = 2) -> Engine:
    manifest, shards = packed(weights, strategy)
    return await Engine.load(manifest, _Ready(shards), device, slots=slots)


async def logits_of(engine: Engine, tokens: list[int], *, every: bool = False) -> np.ndarray:
    flat = np.frombuffer(await engine.logits(tokens, every=every), np.float32)
    return flat.reshape(-1, engine.config.vocab) if every else flat
