"""The page as a person uses it: first visit, questions, second visit, other languages, other themes, no WebGPU."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import BrowserType, Page, expect

from py_rwkv.resources import web_dir

ANSWER = '[data-testid="message"][data-role="assistant"]'


def ask(page: Page, text: str) -> str:
    """Type a question, wait for its answer."""
    count = page.locator(ANSWER).count()
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    answer = page.locator(ANSWER).nth(count)
    expect(answer).to_have_attribute("data-state", "done", timeout=120_000)
    return answer.inner_text()


@pytest.mark.first_visit
def test_first_visit_chat_and_second_visit(page: Page, site_url: str) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(site_url)
    start = page.get_by_test_id("start")
    expect(start).to_contain_text(re.compile(r"7\.\d MB"))
    start.click()
    page.wait_for_selector("html[data-state=ready]")
    assert sum(url.endswith(".safetensors") for url in requests) == 1
    assert all(url.startswith(site_url) or url.startswith("blob:") for url in requests), "something was loaded from elsewhere"

    page.get_by_test_id("settings").click()
    page.get_by_test_id("set-temperature").fill("0")
    page.keyboard.press("Escape")
    assert "Oslo" in ask(page, "What is the capital of Norway?")
    assert "Tavo" in ask(page, "My name is Tavo.")
    assert "Tavo" in ask(page, "What is my name?")
    expect(page.get_by_test_id("status")).to_contain_text(re.compile(r"\d"))  # tokens per second

    requests.clear()
    page.reload()
    page.wait_for_selector("html[data-state=ready]")  # by itself: the model is stored
    assert not [url for url in requests if url.endswith(".safetensors")]
    page.get_by_test_id("new-chat").click()
    expect(page.locator(ANSWER)).to_have_count(0)
    assert "Paris" in ask(page, "What is the capital of France?")


def test_stop_keeps_what_was_said_and_the_page_usable(page: Page, site_url: str) -> None:
    page.goto(site_url)
    page.get_by_test_id("start").click()
    page.wait_for_selector("html[data-state=ready]")
    page.get_by_test_id("composer").fill("Tell me a story about a fox.")
    page.get_by_test_id("send").click()
    answer = page.locator(ANSWER).first
    expect(answer).to_contain_text(re.compile(r"\w+ \w+"))
    page.get_by_test_id("stop").click()
    expect(answer).to_have_attribute("data-state", "stopped")
    page.wait_for_selector("html[data-state=ready]")
    assert ask(page, "Hello!")
    expect(page.locator(ANSWER)).to_have_count(2)


@pytest.mark.first_visit
def test_language_and_theme(page: Page, site_url: str) -> None:
    page.goto(site_url)
    page.get_by_test_id("start").wait_for()
    english = page.locator("main").inner_text()
    page.get_by_test_id("language").click()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh"))
    chinese = page.locator("main").inner_text()
    assert re.search(r"[\u4e00-\u9fff]", chinese) and not re.search(r"[\u4e00-\u9fff]", english)
    before = page.locator("html").get_attribute("data-theme")
    page.get_by_test_id("theme").click()
    assert page.locator("html").get_attribute("data-theme") != before
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("zh"))  # remembered


def test_both_languages_have_the_same_strings() -> None:
    folders = [web_dir() / "i18n" / language for language in ("en", "zh")]
    parts = {path.stem for path in folders[0].iterdir()}
    assert len(parts) > 10 and {path.stem for path in folders[1].iterdir()} == parts
    seen: set[str] = set()
    for part in parts:
        english, chinese = (json.loads((folder / f"{part}.json").read_text("utf-8")) for folder in folders)
        assert english.keys() == chinese.keys() and not seen & english.keys(), part
        seen |= english.keys()
        for key, text in english.items():
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key


@pytest.mark.first_visit
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(page: Page, site_url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(site_url)
    page.get_by_test_id("start").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_webgpu_the_numpy_fallback_answers(
    browser_type: BrowserType, browser_type_launch_args: dict[str, object], site_url: str
) -> None:
    plain = {**browser_type_launch_args, "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]}
    browser = browser_type.launch(**plain)  # type: ignore[arg-type]
    try:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(site_url)
        page.wait_for_selector("html[data-state=no-webgpu]")
        assert page.get_by_test_id("no-webgpu").is_visible()
        page.get_by_test_id("fallback").click()
        page.wait_for_selector("html[data-state=ready]")
        assert page.evaluate("window.rwkv.status().device.kind") == "numpy"
        assert "Oslo" in ask(page, "What is the capital of Norway?")
    finally:
        browser.close()
