"""Much of everything: 500 conversations, 200 turns in one, and typing while an answer comes. One page is loaded for all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import loaded_page
from playwright.sync_api import Browser, Page, expect

ANSWER = '[data-testid="message"][data-role="assistant"]'
TURNS, OTHERS = 200, 500
# How long the longest task of the page's own thread takes while something is typed and an answer comes; ms, 0 if none is longer than 50.
LONGEST = """async () => {
    let longest = 0;
    const seen = (list) => { for (const { duration } of list) longest = Math.max(longest, duration); };
    const observer = new PerformanceObserver((list) => seen(list.getEntries()));
    observer.observe({ type: "longtask" });
    const field = document.querySelector("[data-testid=composer]");
    const until = performance.now() + 60_000;
    for (let i = 0; document.documentElement.dataset.state === "busy" && performance.now() < until; i++) {
        field.value += "abc "[i % 4];
        field.dispatchEvent(new InputEvent("input", { bubbles: true }));
        await new Promise((go) => setTimeout(go, 30));
    }
    seen(observer.takeRecords());
    observer.disconnect();
    return longest;
}"""
MEMORY = "rwkv.info().then(({ memory }) => [memory.total, memory.wasmBytes])"


def conversation(name: str, turns: int, created: int) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for i in range(2 * turns):
        role, parent = ("user", "assistant")[i % 2], messages[-1]["id"] if messages else None
        content = f"{i}" if i % 2 == 0 else f"**{i}**"
        messages.append({"id": f"{name}-{i}", "parent": parent, "role": role, "content": content, "state": "done", "created": created + i})
    return {
        "id": name,
        "title": name,
        "leaf": messages[-1]["id"],
        "created": created,
        "updated": created + 2 * turns,
        "messages": messages,
        "sampling": {"max_tokens": 8},
    }


@pytest.fixture(scope="module")
def loaded(browser: Browser, site_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    many = [conversation(f"talk-{n}", 1, 1_000_000 * (n + 1)) for n in range(OTHERS)] + [conversation("long", TURNS, 10**12)]
    file = Path(tmp_path_factory.mktemp("many")) / "many.json"
    file.write_text(json.dumps({"format": "rwkv-conversations", "version": 1, "conversations": many}), "utf-8")
    with loaded_page(browser, site_url) as page:
        page.get_by_test_id("import").set_input_files(file)
        expect(page.get_by_test_id("conversation").first).to_be_visible()
        yield page


def test_five_hundred_conversations_are_found_and_two_hundred_turns_drawn_as_they_are_read(loaded: Page) -> None:
    listed, messages = loaded.get_by_test_id("conversation"), loaded.get_by_test_id("message")
    expect(loaded.get_by_test_id("toast")).to_contain_text(str(OTHERS + 1), timeout=60_000)
    assert 0 < listed.count() < OTHERS / 2  # the others come when the last one comes near
    for _ in range(20):
        listed.last.scroll_into_view_if_needed()
    expect(listed).to_have_count(OTHERS + 1)
    loaded.get_by_test_id("search").fill("talk-499")
    expect(listed).to_have_count(1)
    loaded.get_by_test_id("search").fill("")
    listed.first.locator("button").first.click()
    expect(messages).to_have_count(2 * TURNS)
    bold = loaded.locator(f"{ANSWER} strong")
    expect(bold.last).to_have_text(str(2 * TURNS - 1))
    assert bold.count() < TURNS / 2  # the others are drawn when they come near
    loaded.evaluate("document.getElementById('scroller').scrollTop = 0")
    expect(bold.first).to_have_text("1")


def answered(page: Page, question: str) -> float:
    """How long the page's longest task took meanwhile."""
    page.get_by_test_id("composer").fill(question)
    page.get_by_test_id("composer").press("Enter")
    longest: float = page.evaluate(LONGEST)
    page.wait_for_selector("html[data-state=ready]", timeout=120_000)
    page.get_by_test_id("composer").fill("")
    return longest


def test_nothing_grows_with_the_turns(loaded: Page) -> None:
    memory = []
    for i in range(4):
        answered(loaded, f"What is {i}?")
        memory.append(loaded.evaluate(MEMORY))
    assert memory[1:] == memory[1:2] * 3  # the first answer begins what is kept


def test_typing_never_waits_for_an_answer(loaded: Page) -> None:
    loaded.get_by_test_id("new-chat").click()
    longest: list[float] = []
    while len(longest) < 5 and 0 not in longest:  # other work on this machine may make one of them long; what the page does would make all
        longest.append(answered(loaded, "Tell me a story about a fox."))
    assert 0 in longest, longest
