"""Writes docs/screenshot.png: the page with the demo model after a short conversation, as the README shows it.

python build_scripts/make_screenshot.py [OUT]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv.site.build import build  # noqa: E402
from py_rwkv.site.serve import serve  # noqa: E402

QUESTIONS = ("What is the capital of Norway?", "My name is Tavo.", "What is my name?")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, serve(build(Path(folder) / "site"), port=0) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US", color_scheme="light")
        page.goto(server.url)
        page.get_by_test_id("start").click()
        page.wait_for_selector("html[data-state=ready]", timeout=120_000)
        for i, question in enumerate(QUESTIONS):
            page.get_by_test_id("composer").fill(question)
            page.get_by_test_id("composer").press("Enter")
            page.wait_for_selector(f'[data-testid="message"][data-role="assistant"][data-state="done"] >> nth={i}', timeout=120_000)
        page.mouse.move(700, 5)
        page.wait_for_timeout(500)
        page.screenshot(path=out)
        browser.close()
    print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/screenshot.png")
