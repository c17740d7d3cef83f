"""axe on every screen and dialog, in both themes and both languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from py_rwkv.site import vendor

RUN = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} (${node.failureSummary})`)))"""
SETTLE = """async () => {  // colours change slowly, and once more when the language's texts are there
    const soon = (ms) => new Promise((go) => setTimeout(go, ms));  // a page that is not painted has no frames, and its transitions never finish
    const frame = () => Promise.race([new Promise(requestAnimationFrame), soon(100)]);
    for (let quiet = 0, turns = 0; quiet < 5 && turns < 50; quiet++, turns++) {
        await frame();
        const changing = document.getAnimations().filter((one) => one instanceof CSSTransition);
        if (changing.length) quiet = 0;
        await Promise.race([Promise.allSettled(changing.map((one) => one.finished)), soon(1000)]);
    }
}"""
LOOKS = [("light", "en"), ("dark", "en"), ("dark", "zh"), ("light", "zh")]
ANSWER = """Text with `code`, a [link](https://example.org/) and **more**.

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
            "content": ANSWER,
            "reasoning": "Hm.",
            "state": "done",
            "created": 1001,
            "model": "m",
        },
        {"id": "b", "parent": "q", "role": "assistant", "content": "Another.", "state": "stopped", "created": 1002, "model": "m"},
    ],
}


@pytest.fixture(scope="module")
def axe() -> str:
    return (vendor.fetch("tools")["axe-core"] / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def shown(browser: Browser, site_url: str, axe: str) -> Iterator[Page]:
    """The page before its first visit, with axe in it."""
    context = browser.new_context(color_scheme="light", locale="en-US", reduced_motion="reduce", service_workers="block")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site_url)
    expect(page.get_by_test_id("start")).to_be_visible()
    page.evaluate(axe)
    yield page
    context.close()


def sound(page: Page, where: str) -> None:
    """axe finds nothing here, in any theme and language."""
    for look in LOOKS:
        for button, now in zip(("theme", "language"), look, strict=True):
            if (
                page.evaluate("(name) => name === 'theme' ? document.documentElement.dataset.theme : document.documentElement.lang", button)
                != now
            ):
                page.evaluate("(id) => document.getElementById(id).click()", button)
        expect(page.locator("html")).to_have_attribute("lang", look[1])
        page.evaluate(SETTLE)
        found: list[str] = page.evaluate(RUN)
        assert not found, f"{where}, {look}:\n" + "\n".join(found)


def closed(page: Page) -> None:
    page.evaluate("document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close())")


def test_before_a_model_is_loaded(shown: Page) -> None:
    sound(shown, "welcome")
    shown.locator("[data-action=models]").first.click()
    expect(shown.get_by_test_id("models-dialog")).to_be_visible()
    sound(shown, "models")
    closed(shown)


def test_with_a_model(shown: Page, tmp_path: Path) -> None:
    page = shown
    page.get_by_test_id("start").click()
    page.wait_for_selector("html[data-state=ready]", timeout=120_000)
    sound(page, "new chat")
    file = tmp_path / "talk.json"
    file.write_text(json.dumps({"format": "rwkv-conversations", "version": 1, "conversations": [TALK]}), "utf-8")
    page.get_by_test_id("import").set_input_files(file)
    expect(page.locator('[data-testid="message"][data-role="assistant"]')).to_have_count(1)
    sound(page, "conversation")
    for button in ("settings", "shortcuts", "device-info"):
        page.get_by_test_id(button).first.click()
        sound(page, button)
        page.keyboard.press("Escape")
        closed(page)
    for action in ("tokens", "more"):
        page.locator('[data-testid="message"][data-role="assistant"]').get_by_test_id(action).click()
        sound(page, action)
        page.keyboard.press("Escape")


def test_the_benchmark_page(shown: Page, site_url: str, axe: str) -> None:
    shown.goto(site_url + "bench.html")
    shown.wait_for_selector("button")
    shown.evaluate(axe)
    sound(shown, "bench.html")
