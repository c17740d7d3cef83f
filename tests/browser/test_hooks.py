"""Hooks in the page: a Program with inserted kernels, and Python functions in Pyodide. The same logits as numpy."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from hook_cases import hooked, model
from models import finished, packed
from playwright.sync_api import Page
from tiny_model import CONFIG

from py_rwkv.hooks import Callback, Hook, Insert, elementwise
from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import SOFTWARE, prefill_tuning
from py_rwkv.program import Run, Step
from py_rwkv.runtime.programs import build_programs, device_buffers
from py_rwkv.runtime.upload import plan

RUN = """async ({ programs, shard, uploads, step, counts, bytes }) => {
    const { Gpu } = await import("./engine/gpu.js");
    const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const gpu = await Gpu.create();
    await gpu.allocate(programs);
    await gpu.upload(decode(shard).buffer, uploads);
    await gpu.compile(() => {});
    const out = await gpu.run(["prefill"], 1, decode(step), ...counts, "logits", bytes);
    gpu.close();
    return btoa(String.fromCharCode(...out));
}"""


def test_inserted_kernels_run_in_the_page(page: Page, site_url: str) -> None:
    """Values inside the same buffer, in another one, and those that only the unfused path has."""
    hooks = [
        Insert("layer.*.att.a", elementwise("double", "2.0 * x", lambda x: 2 * x)),
        Insert("layer.*.att.b", elementwise("times", "x * decay", lambda x, decay: x * decay, reads=("att.decay",))),
        Insert("layer.*.att.gated", elementwise("plus", "x + 0.1 * r", lambda x, r: x + np.float32(0.1) * r, reads=("att.r",))),
    ]
    manifest, shards = packed(model(CONFIG))
    programs = build_programs(manifest, SOFTWARE, prefill_tuning(SOFTWARE), Limits(), 2, hooks=hooks)
    [uploads] = plan(device_buffers(programs), manifest.tensors, len(manifest.shards))
    tokens = [3, 1, 4, 1, 5]
    step = Step.of([Run(1, tokens, len(tokens))])
    page.goto(site_url)
    found = page.evaluate(
        RUN,
        {
            "programs": [p.to_wire() for p in programs],
            "shard": base64.b64encode(shards.read(0)).decode(),
            "uploads": [asdict(u) for u in uploads],
            "step": base64.b64encode(step.encode()).decode(),
            "counts": [step.rows, step.runs, step.outputs],
            "bytes": 4 * CONFIG.vocab * len(tokens),
        },
    )
    expected = finished(expected_logits(hooks, tokens))
    assert np.abs(np.frombuffer(base64.b64decode(found), np.float32) - expected).max() < 1e-4
    assert np.abs(expected - finished(expected_logits([], tokens))).max() > 1e-2


PYTHON = """
import numpy as np
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.browser_device import BrowserDevice
from py_rwkv.hooks import Callback
from py_rwkv.runtime.engine import Engine

class Shards:
    async def read(self, index):
        return shard

def damped(value, frame):
    seen.append(list(value.shape))
    return value * np.float32(0.5)

seen = []
engine = await Engine.load(Manifest.from_json(manifest), Shards(), BrowserDevice(gpu), slots=2, hooks=[Callback("layer.*.att.gated", damped)])
raw = await engine.logits([3, 1, 4, 1, 5])
engine.close()
[np.frombuffer(raw, np.float32).tolist(), seen]
"""
CALLBACK = """async ({ build, manifest, shard, python }) => {
    const { Gpu } = await import("./engine/gpu.js");
    const { loadPyodide } = await import("./" + build.pyodide.path + "pyodide.mjs");
    const pyodide = await loadPyodide({ indexURL: new URL(build.pyodide.path, location.href).href });
    await pyodide.loadPackage("numpy", { messageCallback: () => {} });
    const archive = await (await fetch(build.package.file)).arrayBuffer();
    pyodide.unpackArchive(archive, "zip", { extractDir: pyodide.runPython("import site; site.getsitepackages()[0]") });
    pyodide.globals.set("gpu", await Gpu.create());
    pyodide.globals.set("manifest", manifest);
    pyodide.globals.set("shard", Uint8Array.from(atob(shard), (c) => c.charCodeAt(0)).buffer);
    return (await pyodide.runPythonAsync(python)).toJs();
}"""


def test_python_functions_change_values_in_the_page(page: Page, site: Path, site_url: str) -> None:
    """A callback in Pyodide gets a value from the GPU, and what it returns goes back there."""
    manifest, shards = packed(model(CONFIG))
    page.goto(site_url)
    build = json.loads((site / "build.json").read_text("utf-8"))
    shard = base64.b64encode(shards.read(0)).decode()
    found, seen = page.evaluate(CALLBACK, {"build": build, "manifest": manifest.to_json(), "shard": shard, "python": PYTHON})
    assert seen == [[5, CONFIG.embd]] * CONFIG.layers
    halved = Callback("layer.*.att.gated", lambda value, frame: value * np.float32(0.5))
    expected = finished(expected_logits([halved], [3, 1, 4, 1, 5]))[-CONFIG.vocab :]
    assert np.abs(np.array(found) - expected).max() < 1e-4
    assert np.abs(expected - finished(expected_logits([], [3, 1, 4, 1, 5]))[-CONFIG.vocab :]).max() > 1e-3


async def expected_logits(hooks: Sequence[Hook], tokens: list[int]) -> np.ndarray:
    engine = await hooked(CONFIG, hooks)
    return np.frombuffer(await engine.logits(tokens, every=True), np.float32)
