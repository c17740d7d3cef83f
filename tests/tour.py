"""Every screen and dialog of the page, one after the other: for whoever looks at all of them (tests of accessibility, screenshots)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, expect

MARKDOWN = """Text with `code`, a [link](https://example.org/) and **more**.

```python
print("hello")  # a comment
```

| a | b |
|---|---|
| 1 | 2 |

> quoted

1. one
2. two"""
TALK = {
    "id": "talk",
    "title": "Markdown",
    "leaf": "a",
    "created": 1000,
    "updated": 1000,
    "messages": [
        {"id": "q", "parent": None, "role": "user", "content": "Show me some markdown.", "state": "done", "created": 1000},
        {
            "id": "a",
            "parent": "q",
            "role": "assistant",
            "content": MARKDOWN,
            "reasoning": "Hm.",
            "state": "done",
            "created": 1001,
            "model": "m",
        },
        {"id": "b", "parent": "q", "role": "assistant", "content": "Another.", "state": "stopped", "created": 1002, "model": "m"},
    ],
}
ANSWER = '[data-testid="message"][data-role="assistant"]'


def _closed(page: Page) -> None:
    page.evaluate("document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close())")


def before_a_model(page: Page) -> Iterator[str]:
    """What each screen is called, while it is shown. page: at its first visit."""
    expect(page.get_by_test_id("start")).to_be_visible()
    yield "welcome"
    page.locator("[data-action=models]").first.click()
    expect(page.get_by_test_id("models-dialog")).to_be_visible()
    yield "models"
    page.get_by_test_id("model-g1-0.4b").click()
    expect(page.get_by_test_id("offer-start")).to_contain_text("MB")
    yield "offer"
    _closed(page)


def with_a_model(page: Page, folder: Path) -> Iterator[str]:
    """The same with the demo, which is loaded first. folder: where a file for the import may lie."""
    page.get_by_test_id("start").click()
    page.wait_for_selector("html[data-state=ready]", timeout=120_000)
    yield "new chat"
    file = folder / "talk.json"
    file.write_text(json.dumps({"format": "rwkv-conversations", "version": 1, "conversations": [TALK]}), "utf-8")
    page.get_by_test_id("import").set_input_files(file)
    answer = page.locator(ANSWER)
    expect(answer).to_have_count(1)
    expect(answer.locator("pre code span").first).to_be_visible()  # its colours are there
    yield "conversation"
    for button in ("settings", "shortcuts", "device-info"):
        page.get_by_test_id(button).first.click()
        yield button
        page.keyboard.press("Escape")
        _closed(page)
    page.get_by_test_id("device-info").first.click()
    page.get_by_test_id("device-panel").get_by_test_id("log-open").click()
    yield "what happened"
    _closed(page)
    page.get_by_test_id("chat-menu").click()
    yield "menu of the conversation"
    page.get_by_test_id("menu-tree").click()
    yield "tree"
    page.keyboard.press("Escape")
    answer.get_by_test_id("version-next").click()  # a short one
    answer.get_by_test_id("tokens").click()
    expect(page.locator('.tokens[data-state="done"]')).to_be_visible(timeout=60_000)
    yield "tokens"
    answer.get_by_test_id("more").click()
    yield "menu of an answer"
    page.get_by_test_id("menu-state").click()
    page.wait_for_selector('.state-view[data-state="ready"]')
    yield "state"
    page.get_by_test_id("settings").click()
    page.get_by_test_id("personas-create").click()
    page.get_by_test_id("persona-save").click()
    expect(page.get_by_test_id("persona-error")).to_be_visible()
    yield "persona with an error"
    page.keyboard.press("Escape")
    page.get_by_test_id("personas-manage").click()
    expect(page.get_by_test_id("personas-dialog")).to_be_visible()
    yield "personas"
    _closed(page)
    page.get_by_test_id("raw-open").click()
    page.get_by_test_id("raw").fill("Once upon a time")
    yield "raw text"
