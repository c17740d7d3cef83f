"""The page tests its adapter once a build: kernels that compute wrongly are replaced while nobody waits. (test_faults.py has the adapter that no kernel suits.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from models import finished
from playwright.sync_api import Page, Route

from py_rwkv.native import open_model

TOKENS = [24281, 59, 4571, 261, 4600, 47, 11, 261]
LOAD = "rwkv.load('demo').then((info) => info.tuning)"
WAIT = """async (source) => {
    for (let tries = 0; tries < 400; tries++) {
        const tuning = await rwkv.info().then((info) => info.tuning, () => ({}));
        if (tuning.source === source) return tuning;
        await new Promise((go) => setTimeout(go, 100));
    }
    return "never";
}"""
LOGITS = "(tokens) => rwkv.logits(tokens).then((logits) => Array.from(logits))"


def poison(page: Page, site: Path, kernel: str) -> None:
    """From the next visit on, the adapter computes the norm in a kernel wrongly."""
    script = (site / "engine/worker.js").read_text("utf-8")
    call = "device.createShaderModule({ label, code })"
    assert script.count(call) == 1
    wrong = f"label === '{kernel}' ? code.replaceAll('inverseSqrt(', '0.5 * inverseSqrt(') : code"
    poisoned = script.replace(call, f"device.createShaderModule({{ label, code: {wrong} }})")

    def answer(route: Route) -> None:
        route.fulfill(body=poisoned, content_type="text/javascript")

    page.context.route("**/engine/worker.js", answer)


def visit(page: Page, url: str) -> Any:
    page.goto(url)
    page.wait_for_selector("html[data-state]")
    return page.evaluate(LOAD)


def test_a_wrong_kernel_is_replaced(page: Page, site: Path, site_url: str) -> None:
    poison(page, site, "wkv7_head")
    first = visit(page, site_url)
    assert first["source"] == "preset" and first["decode"]["whole_heads"]
    second = page.evaluate(WAIT, "stored")  # tested once the page is idle, and loaded again
    assert second != "never" and not second["decode"]["whole_heads"]
    engine = finished(open_model("demo", "cpu"))
    expected = np.frombuffer(finished(engine.logits(TOKENS)), np.float32)
    assert np.abs(np.array(page.evaluate(LOGITS, TOKENS)) - expected).max() < 1e-3
