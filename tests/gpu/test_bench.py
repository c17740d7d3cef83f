"""Measuring on the adapter: the ceiling's kernels do what their references do, and a profile accounts for every call, with timestamps and without."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from kernel_cases import assert_same, inputs_for, one_call, uploads_for

from py_rwkv.bench import ceiling, models
from py_rwkv.bench.measure import Plan, bench, draw
from py_rwkv.bench.profile import groups, profile
from py_rwkv.bench.timestamps import TimedDevice
from py_rwkv.checkpoint.convert import load_model
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.kernels.base import Kernel
from py_rwkv.native import open_model
from py_rwkv.program import Program, Run, Step
from py_rwkv.runtime.programs import build_programs


@pytest.mark.parametrize("kernel", [ceiling.read, ceiling.copy], ids=lambda k: k.name)
def test_reading_and_copying(kernel: Kernel, wgpu_device: WgpuDevice, rng: np.random.Generator) -> None:
    for case in kernel.cases:
        arrays = inputs_for(kernel, dict(case), ceiling.ONE, rng)
        found = [run(device, one_call(kernel, dict(case), arrays), arrays) for device in (NumpyDevice(), wgpu_device)]
        assert_same(kernel, dict(case), *found)


def run(device: Any, program: Program, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    async def go() -> bytes:
        blob, uploads = uploads_for(arrays)
        await device.allocate([program])
        await device.compile(lambda done, total: None)
        await device.upload(blob, uploads)
        out: bytes = await device.run(program.name, ceiling.ONE, "out", arrays["out"].nbytes)
        return out

    return {"out": np.frombuffer(asyncio.run(go()), np.float32).reshape(arrays["out"].shape)}


def test_every_empty_dispatch_runs(wgpu_device: WgpuDevice) -> None:
    """Each adds one to what the one before it left: a missing barrier would lose some."""

    async def counted() -> float:
        await wgpu_device.allocate(ceiling.programs(wgpu_device.limits, 1 << 20))
        await wgpu_device.compile(lambda done, total: None)
        return float(np.frombuffer(await wgpu_device.run("empty", ceiling.ONE, "bench.counter", 4), np.float32)[0])

    assert asyncio.run(counted()) == ceiling.EMPTY


def test_the_ceiling_is_a_ceiling(wgpu_device: WgpuDevice) -> None:
    found = asyncio.run(ceiling.measure(wgpu_device, most=1 << 20, repeat=1))
    assert min(found.read_gb_s, found.copy_gb_s, found.roundtrip_us) > 0 and found.dispatch_us >= 0


def test_tokens_drawn_on_the_device(wgpu_device: WgpuDevice) -> None:
    """Each has its time, the state has seen all that were fed, and the report has their speed beside that of single steps."""

    async def run() -> tuple[list[float], int, dict[str, Any]]:
        with models.materialized("random:6:2x64:100") as path:
            engine = await open_model(path, wgpu_device, quantization="nf4")
        session = engine.session()
        seconds = await draw(session, 9, token=3)
        fed = len(session.tokens)
        session.close()
        return seconds, fed, await bench(engine, Plan(prefill=3, decode=4, repeat=1), ceiling.Ceiling(10, 8, 1, 100))

    seconds, fed, report = asyncio.run(run())
    assert len(seconds) == fed == 9 and min(seconds) > 0
    best = max(report["draw_tok_s"], report["decode_tok_s"])
    assert report["of_limits"]["copy"] == pytest.approx(best * report["bytes_per_token"] / 8e9)


@pytest.mark.parametrize("stamps", [True, False])
def test_profile_accounts_for_every_call(stamps: bool) -> None:
    device = TimedDevice.open() if stamps else WgpuDevice()
    if device is None:
        pytest.fail("this adapter has no timestamps; Mesa's lavapipe has")
    with models.materialized("random:7:2x64:100") as path:
        manifest, shards = asyncio.run(load_model(path, strategy="int8"))
    steps: Sequence[Step] = [Step.of([Run(0, [5])]), Step.of([Run(0, [1] * 8, 0)])]
    profiles = asyncio.run(profile(manifest, shards, device, steps, repeat=1))
    programs = build_programs(manifest, device.decode, device.prefill, device.limits, 2)
    for program, shares in zip(programs, profiles, strict=True):
        assert [(s.kernel, s.place, s.calls) for s in shares] == [(*key, len(calls)) for key, calls in groups(program).items()]
    if stamps:
        assert all(s.ms > 0 for s in profiles[0])
        assert all((s.ms > 0) == (not s.place.startswith("head")) for s in profiles[1])  # nobody asked for logits: no head
