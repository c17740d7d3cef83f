"""The quick start: the same code in both languages, and nothing in it that the documents whose examples are run do not have."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
TESTED = ("api.md", "embed.md", "testing.md")


def blocks(name: str) -> list[str]:
    return re.findall(r"^```\w+\n(.*?)^```", (DOCS / name).read_text("utf-8"), flags=re.M | re.S)


def test_both_languages_show_the_same_code_and_it_is_tested() -> None:
    english = blocks("quickstart.md")
    assert english == blocks("quickstart.zh.md") and len(english) == 5
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    known = "\n".join((DOCS / name).read_text("utf-8") for name in TESTED) + readme
    for line in "\n".join(english).splitlines():
        assert line.strip() in known, line


def test_what_it_links_is_there() -> None:
    for name in ("quickstart.md", "quickstart.zh.md"):
        for link in re.findall(r"\]\(([\w.]+)\)", (DOCS / name).read_text("utf-8")):
            assert (DOCS / link).is_file(), link
