"""The JavaScript API in a real browser: parity with the native engine, seeds, stops, cancelling, files and addresses, and what crosses the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.cases import load_case
from make_pth import save
from models import engine_of, finished, logits_of
from playwright.sync_api import Page
from profiles import Profiles
from tiny_model import weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.models.config import Config
from py_rwkv.native import open_model

LOGITS = """async ([url, tokens]) => {
    await rwkv.load(url, { quantization: "f32" });
    return Array.from(await rwkv.logits(tokens));
}"""
TOKENS = [24281, 59, 4571, 261, 5585, 41693, 59]
WORLD = Config("7", 2, 128, 2, 64, 512, 300, {"w": 24, "a": 40, "v": 20, "g": 72})


@pytest.fixture(scope="module")
def demo(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """A page with the demo loaded through `window.rwkv`, shared by the tests of this file."""
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    page.evaluate("window.rwkv.load().then(() => 0)")
    yield page
    page.context.close()


def chat(page: Page, request: dict[str, Any]) -> dict[str, Any]:
    """Stream one answer: its text and the last chunk."""
    result: dict[str, Any] = page.evaluate(
        """async (request) => {
            let text = "", last;
            for await (const chunk of await rwkv.chat.completions.create({ ...request, stream: true })) {
                text += chunk.choices[0].delta.content ?? "";
                last = chunk;
            }
            return { text, last };
        }""",
        request,
    )
    return result


def user(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_load_is_idempotent(demo: Page) -> None:
    assert demo.evaluate("rwkv.load() === rwkv.load('demo')")
    assert demo.evaluate("rwkv.load().then(info => info.model.name)") == "RWKV-7 demo"


def test_logits_equal_the_native_ones(demo: Page) -> None:
    found = np.array(demo.evaluate("tokens => rwkv.logits(tokens).then(l => Array.from(l))", TOKENS), np.float32)

    async def native() -> np.ndarray:
        return await logits_of(await open_model("demo", NumpyDevice()), TOKENS)

    assert found.shape == (65536,)
    assert np.abs(found - finished(native())).max() < 1e-3


def test_an_unstreamed_completion_has_openai_s_shape(demo: Page) -> None:
    reply = demo.evaluate("request => rwkv.chat.completions.create(request)", {**user("What is the capital of Norway?"), "temperature": 0})
    assert reply["object"] == "chat.completion" and "Oslo" in reply["choices"][0]["message"]["content"]
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]


def test_the_same_seed_gives_the_same_text(demo: Page) -> None:
    request = {**user("Tell me a story."), "temperature": 1.5, "top_p": 1, "max_tokens": 24}
    texts = [chat(demo, {**request, "seed": seed})["text"] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_stop_strings_and_max_tokens(demo: Page) -> None:
    stopped = chat(demo, {**user("Count to ten."), "temperature": 0, "stop": ["five"]})
    assert "four" in stopped["text"] and "five" not in stopped["text"] and stopped["last"]["choices"][0]["finish_reason"] == "stop"
    short = chat(demo, {**user("Count to ten."), "temperature": 0, "max_tokens": 3})
    assert short["last"]["choices"][0]["finish_reason"] == "length" and short["last"]["usage"]["completion_tokens"] == 3


def test_a_follow_up_feeds_only_the_new_turn(demo: Page) -> None:
    first = user("My name is Tavo.")
    answer = chat(demo, {**first, "temperature": 0})
    messages = [*first["messages"], {"role": "assistant", "content": answer["text"]}, {"role": "user", "content": "What is my name?"}]
    second = chat(demo, {"messages": messages, "temperature": 0})
    assert "Tavo" in second["text"]
    fed = answer["last"]["usage"]["total_tokens"]
    assert second["last"]["usage"]["prompt_tokens_details"]["cached_tokens"] >= fed - 1  # all but the token that ended the answer


def test_cancel_ends_a_stream_and_the_engine_goes_on(demo: Page) -> None:
    count = demo.evaluate(
        """async (request) => {
            const abort = new AbortController();
            let count = 0;
            for await (const chunk of await rwkv.chat.completions.create({ ...request, stream: true, signal: abort.signal }))
                if (++count === 4) abort.abort();
            return count;
        }""",
        {**user("Tell me a story about a fox."), "temperature": 0},
    )
    assert 4 <= count < 30
    assert "Oslo" in chat(demo, {**user("What is the capital of Norway?"), "temperature": 0})["text"]


def test_two_conversations_at_once_do_not_mix(demo: Page) -> None:
    texts = demo.evaluate(
        """(requests) => Promise.all(requests.map(async (r) => (await rwkv.chat.completions.create(r)).choices[0].message.content))""",
        [{**user(f"What is the capital of {c}?"), "temperature": 0} for c in ("Norway", "France", "Japan", "Italy")],
    )
    assert [city in text for city, text in zip(("Oslo", "Paris", "Tokyo", "Rome"), texts, strict=True)] == [True] * 4


def test_info_names_model_memory_and_cost(demo: Page) -> None:
    info = demo.evaluate("rwkv.info()")
    assert info["model"]["layers"] == 6 and info["device"]["kind"] == "webgpu"
    assert info["program"]["dispatchesPerLayer"] <= 8 and info["program"]["bridgeBytesPerToken"] == {"to": 48, "from": 2064}
    assert 0 < info["memory"]["gpuBytes"] < 64e6
    assert info["memory"]["wasmBytes"] < 96e6  # weights never enter the wasm heap
    assert {"python", "upload", "compile", "warmup"} <= info["timings"].keys()


@pytest.mark.parametrize("quantization", ["int8"])
def test_a_checkpoint_by_address_and_by_file_gives_the_native_logits(page: Page, site: Path, site_url: str, quantization: str) -> None:
    made = weights(WORLD, seed=3)
    for w in made.values():
        w *= 0.2 if w.ndim == 2 else 0.5
    (site / "random.pth").write_bytes(save(made))
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    tokens = [1, 7, 299, 0, 42]
    expected = finished(_native(made, quantization, tokens))
    by_address = page.evaluate(
        """async ([url, quantization, tokens]) => {
            await rwkv.load(url, { quantization });
            return Array.from(await rwkv.logits(tokens));
        }""",
        [site_url + "random.pth", quantization, tokens],
    )
    assert np.abs(np.array(by_address) - expected).max() < 1e-3
    by_file = page.evaluate(
        """async ([url, quantization, tokens]) => {
            const blob = await (await fetch(url)).blob();
            await rwkv.load(new File([blob], "mine.pth", { lastModified: 5 }), { quantization });
            return Array.from(await rwkv.logits(tokens));
        }""",
        [site_url + "random.pth", quantization, tokens],
    )
    assert by_file == pytest.approx(by_address, abs=1e-5)  # a prompt that comes early may run through the other program


async def _native(made: dict[str, np.ndarray], strategy: str, tokens: list[int]) -> np.ndarray:
    return await logits_of(await engine_of(made, NumpyDevice(), strategy), tokens)


def test_logits_of_the_goldens(page: Page, site: Path, site_url: str) -> None:
    """What the `rwkv` package computes for the same weights, in Chromium."""
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    for name in ("three_heads", "small_heads"):
        case = load_case(name)
        (site / f"{name}.pth").write_bytes(save(case.weights))
        logits = page.evaluate(LOGITS, [f"{site_url}{name}.pth", [int(t) for t in case.tokens]])
        assert case.error(np.array([logits], np.float32), positions=slice(-1, None)) < 1e-4


def test_closing_ends_everything(page: Page, site_url: str) -> None:
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    code = page.evaluate(
        """async () => {
            const { Engine } = await import("./engine/client.js");
            const engine = await Engine.create();
            const loading = engine.load().catch((e) => e.code);
            engine.close();
            return [await loading, await engine.info().catch((e) => e.code)];
        }"""
    )
    assert code == ["closed", "not-loaded"]
