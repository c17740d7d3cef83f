"""The built site, served, and Debian's Chromium with a software WebGPU adapter. A missing browser or adapter fails: it is never skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import watch
from playwright.sync_api import Browser, BrowserContext, Page, expect
from profiles import Profiles

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-gpu-compositing",  # the page's own drawing would take SwiftShader's time, too
    "--js-flags=--liftoff-only",  # Python's WebAssembly is not optimized while it runs: that takes a quarter of a load's time here
]
expect.set_options(timeout=30_000)  # no test here depends on how fast the machine is
INSTALL = "Run `make test-setup` (Debian: apt-get install chromium)."


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not found:
        pytest.fail(f"No Chromium on the PATH. {INSTALL}")
    return {**browser_type_launch_args, "executable_path": found, "args": ARGUMENTS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """Without service workers: keeping the whole page for later is work that only the tests of that need (test_offline.py)."""
    return {**browser_context_args, "service_workers": "block"}


@pytest.fixture(scope="session", autouse=True)
def webgpu_adapter(browser: Browser, site_url: str) -> dict[str, Any]:
    """What the adapter calls itself."""
    page = browser.new_page()
    page.goto(site_url + "build.json")
    info: dict[str, Any] | None = page.evaluate(
        "navigator.gpu?.requestAdapter().then(a => a && {vendor: a.info.vendor, architecture: a.info.architecture, description: a.info.description})"
    )
    page.close()
    if not info:
        pytest.fail(f"Chromium {browser.version} has no WebGPU adapter. {INSTALL}")
    return info


@pytest.fixture(scope="session")
def profiles(browser: Browser, site: Path, site_url: str) -> Profiles:
    """Profiles of somebody who has been here before, for tests that are not about a first visit."""
    return Profiles(browser, site_url, site / "python.memory")


@pytest.fixture
def context(request: pytest.FixtureRequest, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    """A profile of this test's own: of somebody new here where it is marked `first_visit`."""
    if request.node.get_closest_marker("first_visit"):
        context = request.getfixturevalue("browser").new_context(**browser_context_args)
    else:
        context = request.getfixturevalue("profiles").new(**browser_context_args)
    yield context
    context.close()


@pytest.fixture
def problems() -> list[str]:
    """Uncaught errors and violations of the Content-Security-Policy seen so far; what is left in it at the end fails the test."""
    return []


@pytest.fixture
def page(context: BrowserContext, problems: list[str]) -> Iterator[Page]:
    watch(context, problems)
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    page.close()
    assert not problems, "\n".join(problems)
