"""axe on every screen and dialog, in both themes and both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from profiles import Profiles
from tour import before_a_model, with_a_model

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
LOOKS = [("light", "en"), ("dark", "zh")]  # what axe finds depends on the colours, or on the texts, never on the pair of them


@pytest.fixture(scope="module")
def axe() -> str:
    return (vendor.fetch("tools")["axe-core"] / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def shown(profiles: Profiles, site_url: str, axe: str) -> Iterator[Page]:
    """The page before its first visit, with axe in it."""
    context = profiles.new(color_scheme="light", locale="en-US", reduced_motion="reduce")
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


def test_before_a_model_is_loaded(shown: Page) -> None:
    for where in before_a_model(shown):
        sound(shown, where)


def test_with_a_model(shown: Page, tmp_path: Path) -> None:
    for where in with_a_model(shown, tmp_path):
        sound(shown, where)


def test_the_benchmark_page(shown: Page, site_url: str, axe: str) -> None:
    shown.goto(site_url + "bench.html")
    shown.wait_for_selector("button")
    shown.evaluate(axe)
    sound(shown, "bench.html")
