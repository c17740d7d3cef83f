"""The page's engine in a second browser: Firefox with its own WebGPU implementation, on lavapipe. A missing Firefox or adapter fails: it is never skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from firefox.bidi import Firefox, launch
from models import finished, logits_of

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.native import open_model

TOKENS = [24281, 59, 4571, 261, 5585, 41693, 59]
NORWAY = {"messages": [{"role": "user", "content": "What is the capital of Norway?"}], "temperature": 0}
READY = """async () => {
    while (!["welcome", "chat", "no-webgpu", "error", "idle", "ready"].includes(document.documentElement.dataset.state) || !window.rwkv)
        await new Promise((resolve) => setTimeout(resolve, 50));
}"""
LOAD = """async () => {
    const info = await rwkv.load();
    const { stored } = await rwkv.probe();
    return { kind: info.device.kind, name: info.model.name, stored, fetched: performance.getEntriesByType("resource").length };
}"""


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if not program:
        pytest.fail("No Firefox on the PATH. Run `make test-setup` (Debian: apt-get install firefox-esr).")
    with launch(program, tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


@pytest.fixture(scope="module")
def demo(firefox: Firefox, site_url: str) -> Firefox:
    """The page with the demo loaded."""
    firefox.open(site_url)
    firefox.evaluate(READY)
    assert firefox.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"), "Firefox has no WebGPU adapter"
    loaded = firefox.evaluate(LOAD)
    assert (loaded["kind"], loaded["name"]) == ("webgpu", "RWKV-7 demo")
    return firefox


def test_logits_equal_the_native_ones(demo: Firefox) -> None:
    found = np.array(demo.evaluate("async (tokens) => Array.from(await rwkv.logits(tokens))", TOKENS), np.float32)

    async def native() -> np.ndarray:
        return await logits_of(await open_model("demo", NumpyDevice()), TOKENS)

    assert found.shape == (65536,)
    assert np.abs(found - finished(native())).max() < 1e-3


def test_it_answers(demo: Firefox) -> None:
    reply = demo.evaluate("(request) => rwkv.chat.completions.create(request)", NORWAY)
    assert "Oslo" in reply["choices"][0]["message"]["content"] and reply["choices"][0]["finish_reason"] == "stop"


def test_an_answer_can_be_stopped(demo: Firefox) -> None:
    """The reader stops after three chunks of a text that would go on; the next request works as if nothing had been."""
    stopped = demo.evaluate(
        """async () => {
            const stop = new AbortController();
            let chunks = 0, last;
            const request = { prompt: "User: Tell me a long story.\\n\\nAssistant:", max_tokens: 5000, temperature: 1, seed: 1, ban: [0], stream: true };
            for await (last of await rwkv.completions.create({ ...request, signal: stop.signal })) if (++chunks === 3) stop.abort();
            return { cancelled: last.cancelled ?? false, tokens: last.usage.completion_tokens };
        }"""
    )
    assert stopped["cancelled"] and stopped["tokens"] < 5000
    test_it_answers(demo)


def test_a_reload_finds_the_model_in_indexeddb(demo: Firefox, site_url: str) -> None:
    demo.open(site_url)
    demo.evaluate(READY)
    assert demo.evaluate("async () => (await rwkv.probe()).stored") == {"demo": True}
    requests = "() => performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.endsWith('.safetensors'))"
    assert demo.evaluate(LOAD)["stored"] == {"demo": True}
    assert demo.evaluate(requests) == []
    test_it_answers(demo)
