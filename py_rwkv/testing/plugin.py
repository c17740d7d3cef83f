"""The pytest plugin: `rwkv_site`, `rwkv_browser` and `rwkv_page` (docs/testing.md). Costs a session that uses none of them nothing but this import.

What is missing on a machine fails a test and says what to install; nothing is ever skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from py_rwkv.testing.page import RwkvPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PLAYWRIGHT = "These fixtures need Playwright: pip install 'py_rwkv[testing]'"
READY = "() => window.rwkv?.status()"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("rwkv_chromium", "name or path of the browser; one on the PATH or Playwright's own, if not given", default="")
    parser.addini("rwkv_adapter", "software: SwiftShader, the same on every machine; hardware: what the machine has", default="software")
    parser.addini("rwkv_model", "what rwkv_page loads: demo, or the address of a model", default="demo")


@pytest.fixture(scope="session")
def rwkv_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, built from this package and served on a free port, with a slash at the end."""
    from py_rwkv.site.build import build
    from py_rwkv.site.serve import serve

    with serve(build(tmp_path_factory.mktemp("rwkv") / "site"), port=0) as server:
        yield server.url


@pytest.fixture(scope="session")
def rwkv_browser(request: pytest.FixtureRequest, rwkv_site: str) -> Iterator[Browser]:
    """Playwright's Browser: a headless Chromium with a WebGPU adapter, on the CPU unless `rwkv_adapter = hardware`."""
    from py_rwkv.testing import chromium

    kind, stop = _playwright(request)
    wanted = request.config.getini("rwkv_adapter")
    if wanted not in ("software", "hardware"):
        pytest.fail(f"rwkv_adapter must be software or hardware, not {wanted!r}.", pytrace=False)
    try:
        browser = chromium.launch(kind.chromium, request.config.getini("rwkv_chromium"), software=wanted == "software")
        try:
            chromium.adapter(browser, rwkv_site + "build.json")
            yield browser
        finally:
            browser.close()
    except chromium.NoBrowser as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        stop()


@pytest.fixture(scope="session")
def _rwkv_pages(request: pytest.FixtureRequest, rwkv_browser: Browser, rwkv_site: str) -> Iterator[_Pages]:
    pages = _Pages(rwkv_browser, rwkv_site, request.config.getini("rwkv_model"))
    yield pages
    pages.close()


@pytest.fixture
def rwkv_page(_rwkv_pages: _Pages) -> RwkvPage:
    """A page with a ready engine (RwkvPage). Tests share it; one that closed it, left it, or loaded something else leaves the next test a new one."""
    return _rwkv_pages.ready()


class _Pages:
    """Makes the page when it is first wanted, and again when it is no longer what it was."""

    def __init__(self, browser: Browser, site: str, model: str) -> None:
        self.browser, self.site, self.model = browser, site, model
        # One context: a second page finds the model stored. Without service workers: keeping the site for later is work that no test waits for.
        self.context = browser.new_context(service_workers="block")
        self._current: RwkvPage | None = None
        self._status: Any = None

    def ready(self) -> RwkvPage:
        if self._current is None or self._seen(self._current) != self._status:
            if self._current:
                self._current.page.close()
            page = self.context.new_page()
            page.set_default_timeout(120_000)
            page.goto(self.site)
            page.wait_for_selector("html[data-state]")
            self._current = RwkvPage(page)
            self._current.call("load", self.model, {"tuning": "preset"})  # nothing is measured: the same kernels every time
            self._status = self._seen(self._current)
        return self._current

    def _seen(self, current: RwkvPage) -> Any:
        """The address and the engine's status, unless the page is gone."""
        from playwright.sync_api import Error

        try:
            return current.page.url, current.evaluate(READY)
        except Error:
            return None

    def close(self) -> None:
        self.context.close()


def _playwright(request: pytest.FixtureRequest) -> tuple[Any, Callable[[], None]]:
    """Playwright, and what ends it. pytest-playwright's own where that is in use: there can be only one in a process."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail(PLAYWRIGHT, pytrace=False)
    if request.config.pluginmanager.hasplugin("playwright"):
        return request.getfixturevalue("playwright"), lambda: None
    running = sync_playwright().start()
    return running, running.stop
