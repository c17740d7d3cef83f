"""Writes a picture of every screen, on a phone and on a desktop, light and dark, English and Chinese, for people to look through.

python build_scripts/make_screenshots.py [FOLDER]          default: build/screenshots
"""

from __future__ import annotations

import sys
import tempfile
from itertools import chain, product
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "build_scripts")]

from make_screenshot import ARGUMENTS, chromium  # noqa: E402
from tour import before_a_model, with_a_model  # noqa: E402

from py_rwkv.site.build import build  # noqa: E402
from py_rwkv.site.serve import serve  # noqa: E402

SIZES = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}


def pictures(page: Page, name: str, folder: Path) -> None:
    for theme, language in product(("light", "dark"), ("en", "zh")):
        for button, now, key in (("theme", theme, "dataset.theme"), ("language", language, "lang")):
            if page.evaluate(f"document.documentElement.{key}") != now:
                page.evaluate("(id) => document.getElementById(id).click()", button)
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)  # type: ignore[arg-type]
            page.wait_for_timeout(400)
            page.screenshot(path=folder / f"{name.replace(' ', '-')}.{size}.{theme}.{language}.png")
    page.set_viewport_size(SIZES["desktop"])  # type: ignore[arg-type]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, serve(build(Path(scratch) / "site"), port=0) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        page = browser.new_page(viewport=SIZES["desktop"], locale="en-US", color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
        page.goto(server.url)
        for name in chain(before_a_model(page), with_a_model(page, Path(scratch))):
            pictures(page, name, folder)
        browser.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/screenshots")
