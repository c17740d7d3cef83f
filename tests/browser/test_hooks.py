"""A Program with inserted kernels, run by the page's executor: the same logits as numpy."""

from __future__ import annotations

import base64
from dataclasses import asdict

import numpy as np
from hook_cases import hooked, model
from models import finished, packed
from playwright.sync_api import Page
from tiny_model import CONFIG

from py_rwkv.hooks import Insert, elementwise
from py_rwkv.models.builder import SOFTWARE, Limits, prefill_tuning
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


async def expected_logits(hooks: list[Insert], tokens: list[int]) -> np.ndarray:
    engine = await hooked(CONFIG, hooks)
    return np.frombuffer(await engine.logits(tokens, every=True), np.float32)
