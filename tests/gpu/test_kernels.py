"""Every kernel's WGSL against its numpy reference, on every step shape. A new kernel is covered by declaring it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest
from kernel_cases import CASES, IDS, STEPS, assert_same, fitted, inputs_for, one_call, steps_for, uploads_for

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.kernels import KERNELS, Kernel, render
from py_rwkv.resources import shader_dir


async def run_on(device: Any, kernel: Kernel, case: dict[str, Any], step: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    await device.allocate([one_call(kernel, case, arrays)])
    await device.compile(lambda done, total: None)
    await device.upload(*uploads_for(arrays))
    await device.run("one", step)
    out = {}
    for name in kernel.writes:
        raw = await read(device, name, arrays[name].nbytes)
        out[name] = np.frombuffer(raw, arrays[name].dtype).reshape(arrays[name].shape)
    return out


async def read(device: Any, name: str, nbytes: int) -> bytes:
    memory = device.memory[name]
    return bytes(device.queue.read_buffer(memory, 0, nbytes)) if isinstance(device, WgpuDevice) else memory[:nbytes].tobytes()


@pytest.mark.parametrize("step_name", STEPS)
@pytest.mark.parametrize(("kernel", "case"), CASES, ids=IDS)
def test_kernel_matches_its_reference(wgpu_device: WgpuDevice, kernel: Kernel, case: dict[str, Any], step_name: str) -> None:
    rng, case = np.random.default_rng(), fitted(case, wgpu_device.features.subgroups)
    step = steps_for(case, rng)[step_name]
    arrays = inputs_for(kernel, case, step, rng)
    expected = asyncio.run(run_on(NumpyDevice(), kernel, case, step, arrays))
    found = asyncio.run(run_on(wgpu_device, kernel, case, step, arrays))
    assert_same(kernel, case, expected, found)


@pytest.mark.parametrize("kernel", [k for k in KERNELS.values() if k.cases], ids=lambda k: k.name)
def test_declaration_matches_the_shader(kernel: Kernel) -> None:
    """Bindings in declaration order, read-only where declared so, and no more storage buffers than every adapter has."""
    code = render(kernel.name, kernel.cases[0])
    found = {int(n): (access, name) for n, access, name in re.findall(r"@binding\((\d+)\) var<storage, (\w+)> +(\w+)", code)}
    declared = dict(enumerate([("read", n) for n in kernel.reads] + [("read_write", n) for n in kernel.writes], start=1))
    assert found.pop(0, None) == (("read_write", "batch") if kernel.writes_step else None)
    if kernel.cases[0].get("encoding") in ("f16", "f32"):
        declared.pop(2)
    assert found == declared
    assert len(declared) <= 8


def test_every_shader_has_a_kernel() -> None:
    assert {p.stem for p in shader_dir().glob("*.wgsl")} == {k.name for k in KERNELS.values() if not k.wgsl}
