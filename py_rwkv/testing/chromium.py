"""A Chromium with WebGPU on any machine: where it is, how it is started, and what to do where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    "--headless=new",  # the old headless mode has no WebGPU
    "--no-sandbox",  # containers and root
    "--enable-unsafe-webgpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# SwiftShader comes with Chromium and computes the same on every machine. The page's own drawing would take its time, too.
SOFTWARE = ("--use-webgpu-adapter=swiftshader", "--disable-gpu-compositing")
INSTALL = "Install one (Debian: `apt-get install chromium`; anywhere: `playwright install --with-deps chromium`), or name it: `rwkv_chromium` in pytest's configuration."
ADAPTER = """navigator.gpu?.requestAdapter().then((adapter) => {
    if (!adapter) return null;
    const { vendor, architecture, device, description } = adapter.info;
    return { vendor, architecture, device, description };
})"""


class NoBrowser(Exception):
    """No Chromium, or one without WebGPU; the text says what to do."""


def find(kind: BrowserType, named: str = "") -> str:
    """The path of the browser that was named, else of one on the PATH, else of Playwright's own. Raises NoBrowser."""
    own = kind.executable_path
    if named:
        if found := shutil.which(named):
            return found
        raise NoBrowser(f"The browser {named!r} that `rwkv_chromium` names is not there. {INSTALL}")
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    if Path(own).is_file():
        return own
    raise NoBrowser(f"No Chromium was found: none of {', '.join(NAMES)} is on the PATH, and Playwright's own is not installed. {INSTALL}")


def launch(kind: BrowserType, named: str = "", *, software: bool = True, **options: Any) -> Browser:
    """Start it. software: compute on the CPU, the same everywhere; else on whatever adapter the machine has. Raises NoBrowser."""
    from playwright.sync_api import Error

    path = find(kind, named)
    try:
        return kind.launch(executable_path=path, args=[*ARGUMENTS, *(SOFTWARE if software else ())], **options)
    except Error as error:
        raise NoBrowser(f"{path} does not start: {str(error).splitlines()[0]} {INSTALL}") from None


def adapter(browser: Browser, url: str) -> dict[str, str]:
    """What the WebGPU adapter calls itself. url: any page of a secure context. Raises NoBrowser where there is none."""
    page = browser.new_page()
    try:
        page.goto(url)
        found: dict[str, str] | None = page.evaluate(ADAPTER)
    finally:
        page.close()
    if not found:
        raise NoBrowser(
            f"{browser.browser_type.name} {browser.version} has no WebGPU adapter. Chromium 121 or newer brings SwiftShader along. {INSTALL}"
        )
    return found
