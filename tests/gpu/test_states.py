"""States on the adapter: saved, carried over to another engine or device, forked; tuned and default ones against the `rwkv` package's values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from golden.tuned_states import MODELS, load_tuned
from make_pth import save
from models import engine_of
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.checkpoint.source import BytesSource, FileSource
from py_rwkv.checkpoint.state_file import Kind, State, decode_state
from py_rwkv.checkpoint.time_state import open_state
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.models.tuning import SOFTWARE
from py_rwkv.runtime.session import Session

CONFIGS = {"7": CONFIG} | {version: OLDER[version] for version in ("4", "5.2", "6")}
SEEN, MORE = [3, 1, 4, 1, 5], [9, 2, 6]


async def after_more(session: Session) -> np.ndarray:
    return np.frombuffer(await session.feed(MORE, "full"), np.float32)


@pytest.mark.parametrize("version", CONFIGS)
def test_going_on_from_a_file(version: str, tmp_path: Path) -> None:
    async def run() -> None:
        made = weights(CONFIGS[version])
        engine, path = await engine_of(made, WgpuDevice(tuning=SOFTWARE), slots=3), tmp_path / "s"
        session = engine.session()
        await session.feed(SEEN, "none")
        await session.save_state(path)
        branch, state = session.fork(), decode_state(FileSource(path))
        expected = await after_more(session)
        assert (await after_more(branch) == expected).all() and branch.tokens == SEEN + MORE
        session.set_state(state)
        assert np.abs(await after_more(session) - expected).max() <= 1e-6
        engine.close()
        for device, tolerance in ((NumpyDevice(), 1e-4), *([(WgpuDevice(tuning=SOFTWARE), 1e-6)] if version in "47" else [])):
            other = (await engine_of(made, device)).session()
            other.set_state(state)
            assert await other.state() == state
            assert np.abs(await after_more(other) - expected).max() <= tolerance

    asyncio.run(run())


@pytest.mark.parametrize("version", MODELS)
def test_tuned_and_default_states(version: str) -> None:
    case = load_tuned(version)

    async def run() -> None:
        engine = await engine_of(case.weights | case.trained, WgpuDevice(tuning=SOFTWARE))
        session = engine.session()

        async def error() -> float:
            session.reset()
            found = np.frombuffer(await session.feed(case.tokens, "full"), np.float32).reshape(case.logits.shape)
            return float(np.abs(found - case.logits).max())

        assert await error() < 1e-4
        engine.set_start(State.zero(Kind.of(engine.config)))
        assert await error() > 0.1
        engine.set_start(open_state(BytesSource("tuned.pth", save(case.trained)), engine.config))
        assert await error() < 1e-4
        engine.set_start(None)
        assert await error() < 1e-4
        engine.close()

    asyncio.run(run())
