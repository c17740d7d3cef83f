"""Nothing is left: workers, locks and engines of 50 that were made and closed, the GPU memory of their models, and buffers and Python proxies of models unloaded.
Nothing grows: buffers, proxies and memory over 200 turns of a conversation.

    RWKV_LEAK_LOADS=50 pytest tests/browser/test_leaks.py     each of the 50 loads a model and answers, which takes minutes
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_pth import save
from models import converted
from playwright.sync_api import Browser, Page
from profiles import Profiles
from tiny_model import weights

from py_rwkv.checkpoint.shards import DirectorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config

LOADED = int(os.environ.get("RWKV_LEAK_LOADS", "1"))  # of the 50 engines, and one before them; two more are closed in the middle of a load
ENGINES = """async (loaded) => {
    const { Engine } = await import("./engine/client.js");
    for (let i = 0; i < 50; i++) {
        const engine = await Engine.create({ python: i % 2 === 0 });
        if (i % 5 === 1) await engine.catalogue(); // its worker has answered
        if (i % 5 === 2) void engine.catalogue().catch(() => {}); // it is closed at work
        if (i % 25 === 13 && i >= loaded) void engine.load("demo").catch(() => {});
        if (i < loaded) {
            await engine.load("demo");
            await engine.completions.create({ prompt: "Once", max_tokens: 2 });
        }
        engine.close();
    }
}"""
# Counts what is not freed: buffers of devices that were not destroyed, and what of Python's JavaScript holds.
WATCH = """() => {
    globalThis.buffers = new Set();
    const ended = new WeakSet();
    const { createBuffer, destroy } = GPUDevice.prototype;
    const free = GPUBuffer.prototype.destroy;
    GPUDevice.prototype.createBuffer = function (descriptor) {
        const buffer = createBuffer.call(this, descriptor);
        if (!ended.has(this)) buffers.add(Object.assign(buffer, { device: this }));
        return buffer;
    };
    GPUDevice.prototype.destroy = function () {
        ended.add(this);
        for (const buffer of buffers) if (buffer.device === this) buffers.delete(buffer);
        destroy.call(this);
    };
    GPUBuffer.prototype.destroy = function () {
        buffers.delete(this);
        free.call(this);
    };
}"""
TRACE = """
import js, pyodide_js
if not hasattr(js, "proxies"):
    pyodide_js._module.enable_pyproxy_allocation_tracing()
    js.proxies = pyodide_js._module.pyproxy_alloc_map

@rwkv.function
def echo(argument):
    return argument
"""
USE = """async () => {
    for await (const chunk of await engine.chat.completions.create({ messages: [{ role: "user", content: "Hi" }], max_tokens: 4, stream: true })) chunk;
    await engine.chat.completions.create({ messages: [{ role: "user", content: "Hi" }], processors: ["none"] }).catch(() => {});
    await engine.trace({ text: "One" });
    await engine.logits([1, 2]);
    await engine.states.save({ messages: [{ role: "user", content: "Hi" }] });
    await engine.python.call("echo", [1]);
    await engine.python.run({ text: "1 / 0" }).catch(() => {});
}"""


# One letter is an answer, so that turns are what is repeated. As many tokens are fed as before: the model remembers the rest.
TALK = """async (turns) => {
    window.messages ??= [];
    for (let i = 0; i < turns; i++) {
        messages.push({ role: "user", content: `What is ${messages.length}?` });
        const { choices, usage } = await engine.chat.completions.create({ messages, max_tokens: 1, temperature: 0 });
        messages.push({ role: "assistant", content: choices[0].message.content || "a" });
        window.fed = usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens;
    }
    const { gpuBytes, wasmBytes } = (await engine.info()).memory;
    return [messages.length, fed, gpuBytes, wasmBytes];
}"""
WORLD = Config("7", 1, 64, 1, 64, 256, 65536, {"w": 16, "a": 16, "v": 16, "g": 16})


@pytest.fixture
def page(profiles: Profiles, site_url: str) -> Iterator[Page]:
    context = profiles.new()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site_url + "build.json")
    yield page
    context.close()


def settled(page: Page, count: Any, least: int = 0) -> int:
    """The count once it is as low as this, or does not become so within 20 s: what ends takes a moment."""
    for _ in range(200):
        if (found := int(count())) <= least:
            break
        page.wait_for_timeout(100)
    return found


def gpu_memory(browser: Browser) -> int:
    """MB of the browser's GPU process, where a software adapter's buffers lie."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    [pid] = [process["id"] for process in processes if process["type"] == "GPU"]
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) >> 10


def alive(page: Page, *names: str) -> int:
    """How many objects of these classes the page has after garbage was collected."""
    session, total = page.context.new_cdp_session(page), 0
    session.send("HeapProfiler.collectGarbage")
    for name in names:
        prototype = session.send("Runtime.evaluate", {"expression": f"{name}.prototype"})["result"]["objectId"]
        objects = session.send("Runtime.queryObjects", {"prototypeObjectId": prototype})["objects"]["objectId"]
        length = session.send("Runtime.callFunctionOn", {"objectId": objects, "functionDeclaration": "function () { return this.length }"})
        total += int(length["result"]["value"])
        session.send("Runtime.releaseObject", {"objectId": objects})
    session.detach()
    return total


def test_fifty_engines_that_were_closed_leave_nothing(browser: Browser, page: Page) -> None:
    page.evaluate("async () => void (window.Engine = (await import('./engine/client.js')).Engine)")
    before = gpu_memory(browser)
    page.evaluate("async () => void (window.engine = await Engine.create())")
    assert alive(page, "Engine", "Worker") == 2
    gpu = page.evaluate("engine.load('demo').then((info) => info.memory.gpuBytes)") >> 20
    assert gpu_memory(browser) > gpu  # a model that is there shows
    page.evaluate("void engine.close(), (window.engine = undefined)")
    page.evaluate(ENGINES, LOADED)
    assert settled(page, lambda: len(page.workers)) == 0
    assert page.evaluate("navigator.locks.query()") == {"held": [], "pending": []}
    assert settled(page, lambda: alive(page, "Engine", "Worker", "BroadcastChannel", "AbortSignal")) == 0
    assert settled(page, lambda: gpu_memory(browser), before + gpu // 2) <= before + gpu // 2  # less than one model


def test_a_model_that_was_unloaded_leaves_nothing_in_its_worker(page: Page) -> None:
    with page.expect_worker() as started:  # that it runs is told a moment later
        page.evaluate("async () => void (window.engine = await (await import('./engine/client.js')).Engine.create({ python: true }))")
    worker = started.value
    worker.evaluate(WATCH)
    counts = lambda: worker.evaluate("[buffers.size, globalThis.proxies?.size ?? 0]")  # noqa: E731
    page.evaluate("async (text) => void (await engine.load('demo', { python: { text } }))", TRACE)
    page.evaluate(USE)
    loaded = counts()
    assert loaded[0] > 50 and loaded[1] > 0
    page.evaluate("engine.unload()")
    assert settled(page, lambda: sum(counts())) == 0, worker.evaluate("[...buffers].map((b) => b.label) + [...proxies.values()]")
    code = "async (text) => engine.load('demo', { python: { text } }).then(() => 0, (e) => e.code)"
    assert page.evaluate(code, TRACE + "1 / 0") == "script-failed"
    assert settled(page, lambda: sum(counts())) == 0


def test_two_hundred_turns_leave_no_more_than_twenty(page: Page, site: Path) -> None:
    made = {name: w * np.float32(0.1) for name, w in weights(WORLD).items()}
    converted(BytesSource("talker.pth", save(made)), DirectorySink(site / "models/talker"), strategy="int8")
    with page.expect_worker() as started:  # that it runs is told a moment later
        page.evaluate("async () => void (window.engine = await (await import('./engine/client.js')).Engine.create({ python: true }))")
    worker = started.value
    worker.evaluate(WATCH)
    page.evaluate("async (text) => void (await engine.load(new URL('models/talker/', location.href).href, { python: { text } }))", TRACE)
    counts = lambda: worker.evaluate("[buffers.size, proxies.size]")  # noqa: E731
    _, fed, *memory = page.evaluate(TALK, 20)
    before = counts()
    length, fed_later, *memory_later = page.evaluate(TALK, 180)
    assert length == 400 and abs(fed_later - fed) <= 2  # a number of three digits
    assert memory_later == memory
    few = sum(before) + 5  # what is under way at the moment; 180 turns that leave something leave more
    assert settled(page, lambda: sum(counts()), few) <= few, (before, counts())
