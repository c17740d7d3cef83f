"""Brings together what a page of the site fetches one by one otherwise: on a slow connection every request, and every module that is found only in another, is a wait.

It knows our sources, as the formatter leaves them, and what is written:

    app/main.js, …                  the scripts of the page and of the engine's worker, each with all its modules (bundle.py)
    app/page.css, bench/page.css    the style sheets of a page, in its order
    i18n/LANGUAGE.json              all texts of a language; its folder keeps what the embedded chat takes
    in a page's head                every module that its scripts still import, to be fetched at once
    in a page's body                app/icons.svg, where a line says `<!-- icons -->`
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath

from py_rwkv.site.bundle import bundle

SCRIPTS = ("app/main.js", "bench/main.js", "engine/worker.js")
PAGES = ("index.html", "bench.html", "embed.html")
# What an element on another site fetches by itself (web/embed/look.js).
EMBED_SHEETS = ("app/base.css", "app/chat.css", "app/composer.css", "app/markdown.css")
EMBED_TEXTS = ("page", "chat", "embed")

_SHEETS = re.compile(r'( *<link rel="stylesheet" href="[^"]+" />\n)+')
_SCRIPT = re.compile(r'<script type="module"[^>]* src="([^"]+)">')
_IMPORT = re.compile(r'^(?:import|export)\b[^"]*? from "(\.[^"]+)";', re.MULTILINE)


def gather(site: Path, sources: Path) -> None:
    """All of it, in a folder that has its modules and texts as they are in web/ (`sources`)."""
    for script in SCRIPTS:
        bundle(site, script, sources)
    sheets = {sheet for page in PAGES for sheet in _merge_sheets(site, site / page)}
    for sheet in sheets.difference(EMBED_SHEETS):
        (site / sheet).unlink()
    icons = (site / "app/icons.svg").read_text("utf-8")
    for name in PAGES:
        page = site / name
        text = page.read_text("utf-8").replace("<!-- icons -->", f"<div hidden>{icons.strip()}</div>")
        scripts = _SCRIPT.findall(text)
        modules = dict.fromkeys(module for script in scripts for module in imported(site, script))
        links = "".join(f'    <link rel="modulepreload" href="{module}" />\n' for module in modules if module not in scripts)
        page.write_text(text.replace("  </head>", links + "  </head>"), "utf-8")
    for language in (folder for folder in (site / "i18n").iterdir() if folder.is_dir()):
        parts = {part.stem: json.loads(part.read_text("utf-8")) for part in sorted(language.glob("*.json"))}
        texts = {key: text for name, part in parts.items() if name != "embed" for key, text in part.items()}
        language.with_suffix(".json").write_text(json.dumps(texts, ensure_ascii=False, separators=(",", ":")), "utf-8")
        for name in parts.keys() - set(EMBED_TEXTS):
            (language / f"{name}.json").unlink()


def imported(site: Path, script: str, seen: dict[str, None] | None = None) -> dict[str, None]:
    """A module and all that it imports by a statement, in the order in which a browser finds them."""
    seen = {script: None} if seen is None else seen
    found = [normpath(join(dirname(script), name)) for name in _IMPORT.findall((site / script).read_text("utf-8"))]
    new = [name for name in dict.fromkeys(found) if name not in seen]
    seen.update(dict.fromkeys(new))
    for name in new:
        imported(site, name, seen)
    return seen


def _merge_sheets(site: Path, page: Path) -> list[str]:
    """Put one sheet in the place of several; those."""
    text = page.read_text("utf-8")
    found = _SHEETS.search(text)
    sheets: list[str] = re.findall(r'href="([^"]+)"', found[0]) if found else []
    if not found or len(sheets) < 2:
        return []
    merged = join(dirname(sheets[-1]), "page.css")
    (site / merged).write_text("\n".join((site / sheet).read_text("utf-8") for sheet in sheets), "utf-8")
    page.write_text(text.replace(found[0], f'    <link rel="stylesheet" href="{merged}" />\n'), "utf-8")
    return sheets
