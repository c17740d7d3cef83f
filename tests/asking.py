"""The chat as a person uses it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

ANSWER = '[data-testid="message"][data-role="assistant"]'


def ask(page: Page, text: str) -> str:
    """Type a question, wait for its answer."""
    count = page.locator(ANSWER).count()
    page.get_by_test_id("composer").fill(text)
    page.get_by_test_id("composer").press("Enter")
    answer = page.locator(ANSWER).nth(count)
    expect(answer).to_have_attribute("data-state", "done", timeout=120_000)
    return answer.inner_text()
