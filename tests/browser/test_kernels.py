"""The pair test in Chromium: every kernel's WGSL, run by the page's executor, against its numpy reference."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from kernel_cases import assert_same, fitted, inputs_for, one_call, steps_for, uploads_for
from models import finished
from playwright.sync_api import Browser, Page

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.kernels import KERNELS, Kernel

RUN = """async ({ program, blob, uploads, step, counts, reads }) => {
    const { Gpu } = await import("./engine/gpu.js");
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const gpu = await Gpu.create();
    await gpu.allocate([program]);
    await gpu.upload(bytes(blob).buffer, uploads);
    await gpu.compile(() => {});
    await gpu.run(["one"], 1, bytes(step), ...counts, "", 0);
    const out = await gpu.read(reads);
    gpu.close();
    let text = "";
    for (const byte of out) text += String.fromCharCode(byte);
    return btoa(text);
}"""


MOST = 12  # cases of a kernel that are all run here


@pytest.fixture(scope="module")
def site_page(browser: Browser, site_url: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(site_url)
    yield page
    page.close()


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda k: k.name)
@pytest.mark.parametrize("step_name", ["two-sessions"])  # the others on lavapipe: tests/gpu/test_kernels.py
def test_kernel_matches_its_reference(site_page: Page, kernel: Kernel, step_name: str) -> None:
    rng = np.random.default_rng()
    # SwiftShader has subgroups of 4 and no f16
    cases = [fitted(case, (4, 4)) for case in kernel.cases if case.get("dots") != "half"]
    for case in every_form(cases) if len(cases) > MOST else cases:
        step = steps_for(case, rng)[step_name]
        arrays = inputs_for(kernel, case, step, rng)
        program, (blob, uploads) = one_call(kernel, case, arrays), uploads_for(arrays)
        found = site_page.evaluate(
            RUN,
            {
                "program": program.to_wire(),
                "blob": base64.b64encode(blob).decode(),
                "uploads": [asdict(u) for u in uploads],
                "step": base64.b64encode(step.encode()).decode(),
                "counts": [step.rows, step.runs, step.outputs],
                "reads": [[name, 0, arrays[name].nbytes] for name in kernel.writes],
            },
        )
        expected = finished(reference(kernel, case, step, arrays))
        raw, at, got = base64.b64decode(found), 0, {}
        for name in kernel.writes:
            a = arrays[name]
            got[name] = np.frombuffer(raw[at : at + a.nbytes], a.dtype).reshape(a.shape)
            at += a.nbytes
        assert_same(kernel, case, expected, got)


def every_form(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Enough of the cases to have every included file in one of them; their combinations are lavapipe's (tests/gpu/test_kernels.py): compiling takes long here."""
    chosen, seen = [], set[tuple[str, str]]()
    for case in cases:
        forms = {(key, value) for key, value in case.items() if isinstance(value, str)}
        if not chosen or forms - seen:
            chosen.append(case)
            seen |= forms
    return chosen


async def reference(kernel: Kernel, case: dict[str, Any], step: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    device = NumpyDevice()
    await device.allocate([one_call(kernel, case, arrays)])
    await device.upload(*uploads_for(arrays))
    await device.run("one", step)
    return {name: device.memory[name][: arrays[name].nbytes].view(arrays[name].dtype).reshape(arrays[name].shape) for name in kernel.writes}
