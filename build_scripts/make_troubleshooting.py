"""Writes the table of errors in docs/troubleshooting.md from py_rwkv/errors.json; what stands around it is written by hand.

python build_scripts/make_troubleshooting.py          write it
python build_scripts/make_troubleshooting.py --check  fail if it is not up to date
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/troubleshooting.md"
MARK = "<!-- from py_rwkv/errors.json by build_scripts/make_troubleshooting.py -->"


def table(language: str, heads: tuple[str, str, str]) -> str:
    """The codes in alphabetical order, with what they say and what to do."""
    texts: dict[str, dict[str, list[str]]] = json.loads((ROOT / "py_rwkv/errors.json").read_text("utf-8"))
    rows = [f"| {' | '.join(heads)} |", "|---|---|---|"]
    for code in sorted(texts):
        message, hint = (plain(text) for text in texts[code][language])
        rows.append(f"| `{code}` | {message} | {hint} |")
    return "\n".join(rows)


def plain(text: str) -> str:
    """Fields as …, and nothing that a table would take for its own."""
    return re.sub(r"[“\"]?\{\w+(:[^}]*)?\}[”\"]?", "…", text).replace("|", "\\|").replace("<", "&lt;")


def page(before: str) -> str:
    """The page with new tables."""
    head = before.split(MARK)[0]
    english = table("en", ("code", "what happened", "what to do"))
    chinese = table("zh", ("代码", "发生了什么", "怎么办"))
    return f"{head}{MARK}\n\n{english}\n\n### 中文\n\n{chinese}\n"


def main() -> int:
    before = PAGE.read_text("utf-8")
    after = page(before)
    if "--check" in sys.argv:
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
