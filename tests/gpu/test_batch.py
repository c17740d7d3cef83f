"""Several sessions in one step give what each gives alone: every version, tokens and embeddings, on numpy and on the adapter."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from models import engine_of
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.models.config import Config
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.session import Session

CONFIGS = OLDER | {"7": CONFIG}
KINDS = ("numpy", "wgpu")  # tests/gpu/test_kernels.py has every kernel in both flavours, with several runs in a step
Said = tuple[np.ndarray, dict[str, np.ndarray]]


def device(kind: str) -> Any:
    return NumpyDevice() if kind == "numpy" else WgpuDevice()


def scaled(config: Config) -> dict[str, np.ndarray]:
    return {name: w * np.float32(0.3) for name, w in weights(config).items()}


def floats(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, np.float32)


async def run_all(engine: Engine, plans: list[Any]) -> list[Said]:
    """Every plan in a session of its own, at once: the logits it says, and the state it ends in."""
    sessions = [engine.session() for _ in plans]
    said = await asyncio.gather(*(plan(s) for plan, s in zip(plans, sessions, strict=True)))
    states = [{k: floats(v) for k, v in (await engine.device.read_state(s.slot)).items()} for s in sessions]
    for s in sessions:
        s.close()
    return list(zip(said, states, strict=True))


def assert_alike(found: Said, expected: Said, tolerance: float) -> None:
    assert found[0].shape == expected[0].shape and np.abs(found[0] - expected[0]).max(initial=0) <= tolerance
    assert all(np.abs(found[1][k] - v).max() <= tolerance * (1 + np.abs(v).max()) for k, v in expected[1].items())


async def long_prompt(s: Session) -> np.ndarray:
    return floats(await s.feed([(7 * i) % 40 for i in range(50)], "last"))


async def every_position(s: Session) -> np.ndarray:
    return floats(await s.feed([(11 * i) % 40 for i in range(21)], "full"))


async def decoding(s: Session) -> np.ndarray:
    first = await s.prefill([3, 1, 4])
    return np.concatenate([np.array(c.logits[:20]) for c in [first, *[await s.step(i) for i in range(7)]]])


async def late(s: Session) -> np.ndarray:
    for _ in range(5):
        await asyncio.sleep(0)
    await s.feed([9], "none")
    return floats(await s.feed([8, 7], "full"))


async def idle(s: Session) -> np.ndarray:
    return np.zeros(0, np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", CONFIGS)
def test_ragged_sessions_do_not_notice_each_other(version: str, kind: str) -> None:
    plans = [long_prompt, decoding, idle, every_position, decoding, late]

    async def run() -> tuple[list[Said], list[Said]]:
        engine = await engine_of(scaled(CONFIGS[version]), device(kind), slots=6)
        return await run_all(engine, plans), [(await run_all(engine, [plan]))[0] for plan in plans]

    for found, expected in zip(*asyncio.run(run()), strict=True):
        assert_alike(found, expected, 1e-5 if kind == "numpy" else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["4", "7"])
def test_rows_of_the_embedding_table_are_as_good_as_their_tokens(version: str, kind: str) -> None:
    """Fed as embeddings, mixed with tokens, beside other sessions, in chunks: the same logits and states."""
    made, tokens = scaled(CONFIGS[version]), [(3 * i + 1) % 40 for i in range(50)]
    table = made["emb.weight"]

    async def as_tokens(s: Session) -> np.ndarray:
        await s.feed(tokens, "none")
        return floats(await s.feed([5, 6, 5], "full"))

    async def as_embeddings(s: Session) -> np.ndarray:
        await s.feed_embeddings(table[tokens[:45]])
        assert len(s.tokens) == 45
        await s.feed(tokens[45:48], "none")
        await s.feed_embeddings(table[tokens[48:]].tobytes())
        first = floats(await s.feed_embeddings(memoryview(table[[5, 6]]), "full"))
        return np.concatenate([first, floats(await s.feed([5], "last"))])

    async def run() -> tuple[list[Said], list[Said]]:
        engine = await engine_of(made, device(kind), slots=4)
        return await run_all(engine, [as_embeddings, long_prompt, as_embeddings, decoding]), await run_all(engine, [as_tokens])

    found, [expected] = asyncio.run(run())
    assert_alike(found[0], expected, 1e-5)
    assert_alike(found[2], expected, 1e-5)
