"""V4, V5.0, V5.1, V5.2 and V6 end to end, against what the `rwkv` package computes for the same weights (tests/golden)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.older_cases import SHAPES, OlderCase, load_older
from models import engine_of, loaded

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.models.tuning import HARDWARE, SOFTWARE
from py_rwkv.native import _Ready
from py_rwkv.program import Run, Step
from py_rwkv.runtime.engine import Engine

DEVICES = ("numpy", "software", "hardware")  # the last two: the flavours of the kernels, on whatever adapter there is
FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "rwkvcpp-tiny"
Runs = list[tuple[int, Sequence[int], int]]  # slot, tokens, outputs


def device(kind: str) -> Any:
    return NumpyDevice() if kind == "numpy" else WgpuDevice(tuning=SOFTWARE if kind == "software" else HARDWARE)


def engine(case: OlderCase, kind: str, strategy: str = "f32") -> Engine:
    e = asyncio.run(engine_of(case.weights, device(kind), strategy, slots=3))
    e.device.clear_state(0)  # the warm-up used it
    return e


def step(e: Engine, runs: Runs) -> np.ndarray:
    """Logits [outputs, V] of one step."""
    work = Step.of([Run(*run) for run in runs])
    program = e.decode if work.rows == 1 else e.prefill
    raw = asyncio.run(e.device.run(program.name, work, "logits", 4 * e.config.vocab * work.outputs))
    return np.frombuffer(raw, np.float32).reshape(-1, e.config.vocab)


def state_of(e: Engine, slot: int, case: OlderCase) -> dict[str, np.ndarray]:
    """The state as the golden files name it."""
    raw = {name: np.frombuffer(data, np.float32) for name, data in asyncio.run(e.device.read_state(slot)).items()}
    layers = range(e.config.layers)
    parts = {kind: np.array([raw[f"state.{i}.{kind}"] for i in layers]) for kind in ("att_prev", "wkv", "ffn_prev")}
    if case.shape.version == "4":
        parts |= {kind: parts["wkv"].reshape(len(layers), 3, -1)[:, i] for i, kind in enumerate(("aa", "bb", "pp"))}
    return {kind: parts[kind].reshape(expected.shape) for kind, expected in case.state.items()}


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("name", SHAPES)
def test_logits_at_every_position_and_the_final_state(name: str, kind: str) -> None:
    case = load_older(name)
    e = engine(case, kind)
    found = np.concatenate([step(e, [(1, [token], 1)]) for token in case.tokens])
    assert np.abs(found - case.logits).max() < 1e-4
    for part, values in state_of(e, 1, case).items():
        assert np.abs(values - case.state[part]).max() < 1e-4, part
    e.close()


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("name", [n for n in SHAPES if "small" in n])
def test_any_split_of_a_prompt_gives_the_same(name: str, kind: str) -> None:
    case = load_older(name)
    e = engine(case, kind)
    for cuts in ([24], [1, 23], [5, 6, 13], [8, 8, 8], [16, 1, 1, 6]):
        e.device.clear_state(0)
        at = 0
        for size in cuts:
            found = step(e, [(0, case.tokens[at : at + size], min(size, 8))])
            at += size
            assert np.abs(found - case.logits[at - len(found) : at]).max() < 1e-4, cuts
        for part, values in state_of(e, 0, case).items():
            assert np.abs(values - case.state[part]).max() < 1e-4, (part, cuts)
    e.close()


@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("name", [n for n in SHAPES if "small" in n])
def test_sessions_share_ragged_steps(name: str, kind: str) -> None:
    """Three sessions read the same tokens at different paces; one of them starts over in between."""
    case = load_older(name)
    e = engine(case, kind)
    t, found = case.tokens, {0: 0, 1: 0, 2: 0}
    steps = [{0: 5, 1: 1}, {2: 7, 0: 1, 1: 2}, {1: 3}, {0: 18, 1: 1, 2: 3}, {2: 1, 1: 9}, {1: 8, 2: 13}]
    for number, sizes in enumerate(steps):
        if number == 4:
            e.device.clear_state(2)
            found[2] = 0
        logits = step(e, [(slot, t[found[slot] : found[slot] + n], 1) for slot, n in sizes.items()])
        for row, (slot, n) in zip(logits, sizes.items(), strict=True):
            found[slot] += n
            assert np.abs(row - case.logits[found[slot] - 1]).max() < 1e-4, (number, slot)
    assert found == {0: 24, 1: 24, 2: 14}
    e.close()


@pytest.mark.parametrize("kind", ["numpy", "software"])
@pytest.mark.parametrize(("strategy", "limit"), [("f16", 0.03), ("int8", 0.3), ("int8, head=f16", 0.3)])
@pytest.mark.parametrize("name", [n for n in SHAPES if "64" in n])
def test_quantized(name: str, strategy: str, limit: float, kind: str) -> None:
    case = load_older(name)
    e = engine(case, kind, strategy)
    found = np.concatenate([step(e, [(0, case.tokens[at : at + 8], 8)]) for at in range(0, 24, 8)])
    error = float(np.abs(found - case.logits).max())
    assert 1e-4 < error < limit
    e.close()


if FIXTURES.is_dir():

    @pytest.mark.parametrize("kind", DEVICES)
    @pytest.mark.parametrize("version", ["v4", "v5.0", "v5.2", "v6", "v7"])
    def test_trained_models_of_rwkv_cpp(version: str, kind: str) -> None:
        """rwkv.cpp's own expectations; its V5 normalises with an eps of 1e-5."""
        eps = 1e-5 if version.startswith("v5") else None
        manifest, shards = loaded(FIXTURES / f"{version}.pth", group_norm_eps=eps)
        e = asyncio.run(Engine.load(manifest, _Ready(shards), device(kind)))
        found = np.frombuffer(asyncio.run(e.logits([34, 105, 110])), np.float32)
        assert np.abs(found - np.load(FIXTURES / f"{version}.expected.npy")).max() < 1e-4
        e.close()
