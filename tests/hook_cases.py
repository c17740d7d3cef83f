"""Hooked engines for tests, and the examples of docs/hooks.md as Python names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from make_pth import save
from models import packed
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.hooks import Hook
from py_rwkv.models.config import Config
from py_rwkv.native import _Ready
from py_rwkv.runtime.engine import Engine

DOC = Path(__file__).parents[1] / "docs" / "hooks.md"
CONFIGS = OLDER | {"7": CONFIG}
TOKENS = [3, 1, 4, 1, 5, 9, 2]
Values = dict[str, np.ndarray]


def model(config: Config) -> Values:
    return {name: w * np.float32(0.3) for name, w in weights(config).items()}


async def hooked(config: Config, hooks: Sequence[Hook], weights: Values | None = None, device: Any = None) -> Engine:
    manifest, shards = packed(weights or model(config))
    return await Engine.load(manifest, _Ready(shards), device or NumpyDevice(), slots=3, hooks=hooks)


def logits(config: Config, hooks: Sequence[Hook] = (), weights: Values | None = None, device: Any = None) -> np.ndarray:
    """[T, V]: the first token by itself, the rest in one step."""

    async def run() -> np.ndarray:
        engine = await hooked(config, hooks, weights, device)
        session = engine.session()
        raw = await session.feed(TOKENS[:1], "full") + await session.feed(TOKENS[1:], "full")
        return np.frombuffer(raw, np.float32).reshape(len(TOKENS), -1)

    return asyncio.run(run())


def run_document(folder: Path, device: str) -> dict[str, Any]:
    """What the Python of docs/hooks.md defines after running on a small model in place of the demo; it asserts what it claims."""
    path = folder / "small.pth"
    path.write_bytes(save(model(CONFIG)))
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", DOC.read_text("utf-8"), flags=re.M | re.S):
        text = block.replace('"demo", "auto"', f'{str(path)!r}, "{device}"')
        exec(compile(text, str(DOC), "exec"), names)
    return names
