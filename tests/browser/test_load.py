"""What a load and a token cost that can be counted: shards in memory, bytes on the GPU and in Python, calls from Python to JavaScript, pipelines known ahead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_pth import save
from models import converted
from playwright.sync_api import Page
from profiles import Profiles
from tiny_model import weights

from py_rwkv.checkpoint.shards import DirectorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config

SMALL = Config("7", 1, 64, 1, 64, 256, 300, {"w": 16, "a": 16, "v": 16, "g": 16})
KEPT = """async (name) => {
    const opening = indexedDB.open("py-rwkv");
    await new Promise((resolve) => (opening.onsuccess = resolve));
    const get = () => opening.result.transaction("start").objectStore("start").get(name);
    for (;;) {
        const request = get();
        await new Promise((resolve) => (request.onsuccess = resolve));
        if (request.result) return opening.result.close(), request.result;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}"""
CALLS = """async ([count, more]) => {
    const before = (await rwkv.info()).bridge;
    const request = { prompt: "The quick brown fox", max_tokens: count, temperature: 0, stop: [], ban: [0], ...more };
    const { usage } = await rwkv.completions.create(request);
    const after = (await rwkv.info()).bridge;
    return [usage.completion_tokens, after.calls - before.calls];
}"""


@pytest.fixture(scope="module")
def demo(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """A page that has loaded the demo model."""
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    page.evaluate("rwkv.load('demo').then(() => true)")
    yield page
    page.context.close()


def test_the_site_lists_the_pipelines_that_its_model_needs(demo: Page, site: Path) -> None:
    lists = (site / "models/demo/pipelines.json").read_text("utf-8"), demo.evaluate(KEPT, "pipelines demo")["specs"]
    listed, wanted = ([(spec["code"], spec.get("later", False)) for spec in json.loads(text)] for text in lists)
    assert listed == wanted and len(wanted) < 20
    assert 8 < sum(not later for _, later in wanted) < len(wanted)


def test_what_is_for_later_begins_ahead_only_on_hardware(demo: Page) -> None:
    begun = """async (software) => {
        const { Compiler } = await import("./engine/compiler.js");
        const begun = [];
        const other = () => ({});
        const createComputePipelineAsync = async ({ label }) => begun.push(label);
        const device = { createBindGroupLayout: other, createPipelineLayout: other, createShaderModule: other, createComputePipelineAsync };
        const compiler = new Compiler(device, software);
        const [first, later] = [false, true].map((later) => ({ label: `${later}`, code: `${later}`, bindings: ["uniform", "storage"], later }));
        compiler.begin([later, first, first]);
        const ahead = [...begun];
        await compiler.get(later);
        await compiler.get({ ...later, later: false });
        return [ahead, begun];
    }"""
    assert demo.evaluate(begun, True) == [["false"], ["false", "true"]]
    assert demo.evaluate(begun, False) == [["true", "false"], ["true", "false"]]


def test_memory_is_the_sum_of_its_parts_and_python_stays_small(demo: Page) -> None:
    memory = demo.evaluate("rwkv.info()")["memory"]
    rest = memory["gpuBytes"] - sum(memory[role] for role in ("weight", "state", "scratch"))
    assert 0 < rest < 128 << 10  # the step, what describes the calls, and what is read back
    assert memory["wasmBytes"] <= 96 << 20


def test_the_heap_of_the_worker_grows_by_three_shards_at_most(demo: Page, site: Path, site_url: str) -> None:
    """What Chromium counts, ArrayBuffers included, from the demo to a model of many shards; Python runs already, and a heap that was just emptied is the measure."""
    big = Config("7", 2, 512, 8, 64, 2048, 16_000, {"w": 32, "a": 32, "v": 32, "g": 32})
    manifest = converted(
        BytesSource("big.pth", save(weights(big))), DirectorySink(site / "models/big"), strategy="int8", shard_limit=4 << 20
    )
    largest = max(shard.bytes for shard in manifest.shards)
    assert len(manifest.shards) > 4
    heap = Heap(demo)
    heap.send("HeapProfiler.collectGarbage")
    before = heap.used()
    demo.evaluate(
        "(url) => void (globalThis.loading = rwkv.load(url).then((info) => info.memory, (e) => ({ problem: e.code })))",
        site_url + "models/big/",
    )
    sizes = []
    while not demo.evaluate("Promise.race([loading.then(() => true), new Promise((go) => setTimeout(go, 10, false))])"):
        sizes.append(heap.used() - before)
    memory = demo.evaluate("loading")
    assert largest <= memory["shardBytes"] and len(sizes) > 10
    assert max(sizes) <= 3 * largest, f"{max(sizes) / largest:.2f} shards"
    heap.session.detach()
    demo.evaluate("rwkv.load('demo').then(() => true)")


class Heap:
    """The heap of a page's worker, as the browser's debugger counts it."""

    def __init__(self, page: Page) -> None:
        self.session, self.answers, self.count = page.context.new_cdp_session(page), dict[int, Any](), 0
        workers: list[str] = []
        self.session.on(
            "Target.attachedToTarget", lambda e: workers.append(e["sessionId"]) if e["targetInfo"]["type"] == "worker" else None
        )
        self.session.on("Target.receivedMessageFromTarget", self._received)
        self.session.send("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False})
        while not workers:
            page.wait_for_timeout(20)
        self.page, [self.worker] = page, workers

    def _received(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if "id" in message:
            self.answers[message["id"]] = message["result"]

    def send(self, method: str) -> Any:
        self.count += 1
        self.session.send(
            "Target.sendMessageToTarget", {"sessionId": self.worker, "message": json.dumps({"id": self.count, "method": method})}
        )
        while self.count not in self.answers:
            self.page.wait_for_timeout(5)
        return self.answers.pop(self.count)

    def used(self) -> int:
        """Bytes of objects and of what ArrayBuffers hold; Python's memory is not among them while it does not grow."""
        usage = self.send("Runtime.getHeapUsage")
        return int(usage["usedSize"] + usage["backingStorageSize"])


def test_a_load_holds_two_shards_at_most(page: Page, site: Path, site_url: str) -> None:
    made = {name: w * np.float32(0.1) for name, w in weights(SMALL).items()}
    manifest = converted(BytesSource("parts.pth", save(made)), DirectorySink(site / "models/parts"), strategy="int8", shard_limit=20_000)
    largest = max(shard.bytes for shard in manifest.shards)
    assert len(manifest.shards) > 3
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    held: int = page.evaluate("(url) => rwkv.load(url).then((info) => info.memory.shardBytes)", site_url + "models/parts/")
    assert largest <= held <= 2 * largest
    timings: dict[str, Any] = page.evaluate("rwkv.info()")["timings"]
    assert {"start", "python", "adapter", "download", "read", "upload", "compile", "warmup", "ready"} <= timings.keys()
    assert timings["ready"] >= timings["upload"]


def test_a_token_takes_one_call_from_python_at_most(demo: Page) -> None:
    demo.evaluate(CALLS, [2, {}])  # all pipelines are there after it
    for more, exact in (({"logprobs": True, "top_logprobs": 1}, True), ({}, False)):
        (few, calls), (many, all_calls) = demo.evaluate(CALLS, [4, more]), demo.evaluate(CALLS, [16, more])
        assert (few, many) == (4, 16)
        assert all_calls - calls == 12 if exact else all_calls - calls <= 12
