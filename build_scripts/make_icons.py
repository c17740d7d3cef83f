"""Draws `web/icons/` from `web/favicon.svg` with Chromium: the sizes that phones and desktops ask for when the page is installed.

.venv/bin/python build_scripts/make_icons.py
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WEB = Path(__file__).resolve().parents[1] / "web"
# name → side in pixels, and how much of it the drawing takes: launchers cut maskable icons to shapes of their own, so theirs has a margin
ICONS = {"192": (192, 1.0), "512": (512, 1.0), "maskable": (512, 0.72), "touch": (180, 0.86)}


def page(drawing: str, side: int, share: float) -> str:
    whole = share < 1
    drawing = drawing.replace("<svg ", f'<svg width="{side * share}" height="{side * share}" ', 1)
    colour = re.search(r'fill="(#\w+)"', drawing)
    style = f"background: {colour[1]}" if whole and colour else "background: transparent"
    return f'<body style="margin: 0; height: 100vh; display: grid; place-items: center; {style}">{drawing}</body>'


def main() -> None:
    drawing = (WEB / "favicon.svg").read_text("utf-8")
    (WEB / "icons").mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--headless=new", "--no-sandbox"])
        for name, (side, share) in ICONS.items():
            tab = browser.new_page(viewport={"width": side, "height": side})
            tab.set_content(page(drawing, side, share))
            tab.screenshot(path=WEB / f"icons/{name}.png", omit_background=True)
            tab.close()
        browser.close()


if __name__ == "__main__":
    main()
