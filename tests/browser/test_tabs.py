"""Several tabs and one model: the second one uses it through the first, may load its own, and takes over when the first one is closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asking import ask
from playwright.sync_api import BrowserContext, Page, Route, expect
from profiles import Profiles

STORY = "Tell me a story about a fox."
RUN = """(question) => {
    window.told = "";
    window.story = (async () => {
        const request = { messages: [{ role: "user", content: question }], temperature: 0, presence_penalty: 0, frequency_penalty: 0, max_tokens: 60 };
        let last;
        for await (const chunk of await rwkv.chat.completions.create({ ...request, stream: true })) {
            window.told += chunk.choices[0].delta.content ?? "";
            last = chunk;
        }
        return { text: window.told, usage: last.usage };
    })();
    window.story.catch(() => {});
}"""
SOME = "async () => { while (window.told.length < 8) await new Promise((go) => setTimeout(go, 10)); return window.told; }"


@pytest.fixture
def context(profiles: Profiles, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    context = profiles.new(**browser_context_args)
    context.set_default_timeout(120_000)
    yield context
    context.close()


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    return page


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-state=ready]")


def shared(page: Page) -> bool:
    return page.evaluate("rwkv.status().shared === true")


def test_one_model_for_several_tabs(context: BrowserContext, site_url: str) -> None:
    held: list[Route] = []
    context.route("**/*.safetensors", lambda route: held.append(route))
    first = opened(context, site_url)
    first.get_by_test_id("start").click()
    second = opened(context, site_url)  # while the first one is still loading, which the page does not do by itself before it is stored
    second.get_by_test_id("start").click()
    while not held:
        first.wait_for_timeout(50)
    for route in held:
        route.continue_()
    context.unroute_all()
    ready(second)
    ready(first)
    assert shared(second) and not shared(first)
    expect(second.get_by_test_id("notice-tab")).to_be_visible()
    expect(first.get_by_test_id("notice-tab")).to_have_count(0)
    assert "Oslo" in ask(second, "What is the capital of Norway?")
    assert second.evaluate("rwkv.info().then((info) => info.model.layers)") == 6
    assert second.evaluate("rwkv.tokenize('Hello').then((ids) => ids.length)") > 0
    assert second.evaluate("rwkv.chat.completions.create({messages: []}).catch((e) => e.code)") == "empty-prompt"
    count = second.evaluate(
        """async (content) => {
            const abort = new AbortController();
            let count = 0;
            const request = { messages: [{ role: "user", content }], stream: true, signal: abort.signal };
            for await (const chunk of await rwkv.chat.completions.create(request)) if (++count === 4) abort.abort();
            return count;
        }""",
        STORY,
    )
    assert 4 <= count < 30
    ready(first)  # it was not busy for others, and is not now

    third = opened(context, site_url)  # stored by now: it begins by itself
    ready(third)
    assert shared(third)
    third.get_by_test_id("own").click()
    expect(third.get_by_test_id("tab-badge")).to_be_hidden()
    ready(third)
    assert not shared(third) and "Oslo" in ask(third, "What is the capital of Norway?")
    expect(third.get_by_test_id("notice-tab")).to_have_count(0)
    third.close()

    first.evaluate(RUN, STORY)
    whole = first.evaluate("story")
    second.evaluate(RUN, STORY)
    begun = second.evaluate(SOME)
    first.close()
    assert whole["text"].startswith(begun) and len(begun) < len(whole["text"])
    expect(second.get_by_test_id("notice-recovering")).to_be_visible()
    continued = second.evaluate("story")
    assert continued["text"] == whole["text"]
    assert {**continued["usage"], "prompt_tokens_details": 0} == {**whole["usage"], "prompt_tokens_details": 0}
    ready(second)
    assert not shared(second)
    expect(second.get_by_test_id("notice-recovering")).to_have_count(0)
    fourth = opened(context, site_url)
    ready(fourth)
    assert shared(fourth)  # by the one that took over
