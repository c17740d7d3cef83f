"""Takes out of the page's own files what only their readers need. Names and line numbers stay, so errors still say where they come from.

It knows our sources, as the formatter leaves them (one statement a line, comments on their own lines or at a line's end), not JavaScript at large.
"""

from __future__ import annotations

import re
from pathlib import Path

_CAST = re.compile(r"/\*\* @type \{.*?\} \*/ (?=\()")
_AT_THE_END = re.compile(r"\s// [^\"'`]*$")  # what follows contains no quote, so the comment is not part of a text


def script(text: str) -> str:
    """JavaScript without its comments and indentation. Licences (`/*!`) and texts over several lines stay as they are."""
    lines, comment, template = [], False, False
    for line in text.split("\n"):
        if not template:
            line = line.strip()
            if comment or (line.startswith("/*") and not line.startswith("/*!")):
                comment = "*/" not in line
                line = "" if comment else line.split("*/", 1)[1].strip()
            if line.startswith("//"):
                line = ""
            line = _CAST.sub("", line)
            if line.count("`") % 2 == 0:
                line = _AT_THE_END.sub("", line)
        template ^= line.count("`") % 2 == 1
        lines.append(line)
    return "\n".join(lines)


def style(text: str) -> str:
    """CSS without its comments and indentation."""
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.S)
    return re.sub(r"^[ \t]+", "", text, flags=re.M)


def folder(site: Path) -> None:
    """Every script and stylesheet below a folder."""
    for path in site.rglob("*"):
        if path.suffix in (".js", ".mjs", ".css"):
            text = path.read_text("utf-8")
            path.write_text(style(text) if path.suffix == ".css" else script(text), "utf-8")
