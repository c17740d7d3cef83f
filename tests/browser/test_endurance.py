"""Much of everything: 500 conversations, 200 turns in one. One page is loaded for all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import loaded_page
from playwright.sync_api import Browser, Page, expect
from profiles import Profiles

ANSWER = '[data-testid="message"][data-role="assistant"]'
TURNS, OTHERS = 200, 500
ASK_ELSEWHERE = """(question) => {  // all in one task: before the page has opened the new chat
    document.querySelector("[data-testid=new-chat]").click();
    const field = document.querySelector("[data-testid=composer]");
    field.value = question;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
}"""


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
def loaded(profiles: Profiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    many = [conversation(f"talk-{n}", 1, 1_000_000 * (n + 1)) for n in range(OTHERS)] + [conversation("long", TURNS, 10**12)]
    file = Path(tmp_path_factory.mktemp("many")) / "many.json"
    file.write_text(json.dumps({"format": "rwkv-conversations", "version": 1, "conversations": many}), "utf-8")
    with loaded_page(profiles) as page:
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


def test_typing_never_waits_for_an_answer(loaded: Page, browser: Browser) -> None:
    """No task of the page's own thread takes 50 ms of its processor while an answer comes and something is typed. (Longer by the clock are some, on a busy machine.)"""
    loaded.evaluate(ASK_ELSEWHERE, "Tell me a story about a fox.")
    expect(loaded.get_by_test_id("message")).to_have_count(2)
    expect(loaded.locator(f"{ANSWER} .body")).to_have_text(re.compile(r"\w+ \w+"))
    browser.start_tracing(page=loaded, categories=["toplevel"])
    loaded.get_by_test_id("composer").press_sequentially("And then? " * 3, delay=30)
    busy = loaded.locator("html").get_attribute("data-state")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"}
    tasks = [e["tdur"] / 1000 for e in events if e["name"].endswith("RunTask") and (e["pid"], e["tid"]) in main and "tdur" in e]
    assert busy == "busy" and len(tasks) > 100
    assert max(tasks) < 50
