"""Pages in the browser as tests want them: watched for what must not happen, and with the demo model ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page
from profiles import Profiles


def watch(context: BrowserContext, problems: list[str]) -> None:
    """Note uncaught errors and violations of the Content-Security-Policy."""

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and any(words in message.text for words in ("Content Security Policy", "Uncaught")):
            problems.append(message.text)

    context.on("console", console)
    context.on("weberror", lambda error: problems.append(str(error.error)))


@contextmanager
def loaded_page(profiles: Profiles, **options: Any) -> Iterator[Page]:
    """A page with the demo ready, in a context of its own. What `watch` notes fails whoever used it."""
    context = profiles.new(**options)
    problems: list[str] = []
    watch(context, problems)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(profiles.url)
    page.get_by_test_id("start").click()
    page.wait_for_selector("html[data-state=ready]")
    page.set_default_timeout(30_000)
    yield page
    context.close()
    assert not problems, "\n".join(problems)
