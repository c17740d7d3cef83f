"""Writes the tables of docs/api.md from the code: fields of a request, status of errors, methods and types of the JavaScript API. The rest is written by hand.

python build_scripts/make_api_docs.py          write it
python build_scripts/make_api_docs.py --check  fail if it is not up to date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv.chat.errors import CODES, STATUS  # noqa: E402
from py_rwkv.chat.fields import FIELDS  # noqa: E402
from py_rwkv.chat.tools import SAYS  # noqa: E402

PAGE = ROOT / "docs/api.md"
CLIENT = ROOT / "web/engine/client.js"
BLOCK = re.compile(r"(<!-- from [^>]*: (\w+) -->\n).*?(<!-- end -->)", re.S)


def rows(*lines: tuple[str, ...]) -> str:
    head, *rest = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])


def fields() -> str:
    """The standard's fields, then ours."""
    kinds = {"bool": "true or false"}
    found = sorted(FIELDS.items(), key=lambda item: item[1].ours)
    idle = [name for name, field in found if field.what == "Does nothing."]
    lines = [
        (
            f"`{name}`" + (" **ours**" if field.ours else ""),
            kinds.get(field.kind, field.kind),
            {"": "both"}.get(field.endpoint, field.endpoint),
            field.what,
        )
        for name, field in found
        if name not in idle
    ]
    return (
        rows(("field", "value", "endpoint", "what it does"), *lines)
        + f"\n\nTaken, and without effect: {', '.join(f'`{name}`' for name in idle)}."
    )


def errors() -> str:
    """Codes by their status."""
    kinds: dict[tuple[int, str], list[str]] = {}
    for code, kind in STATUS.items():
        kinds.setdefault(kind, []).append(f"`{CODES.get(code, code)}`")
    lines = [(str(status), f"`{kind}`", ", ".join(codes)) for (status, kind), codes in sorted(kinds.items())]
    return rows(("status", "`type`", "`code`"), *lines, ("500", "`server_error`", "any other ([troubleshooting.md](troubleshooting.md))"))


def format() -> str:
    """How the prompt tells of tools."""
    return f"    {SAYS}"


def comments(source: str) -> Iterator[tuple[str, str]]:
    """(text, the code that follows) of every JSDoc comment."""
    for found in re.finditer(r"/\*\*((?:(?!\*/).)*)\*/[ \n]*(?=([^\n]*))", source, re.S):
        yield re.sub(r"\n *\*(?= |\n|$)", "\n", found[1]).strip(), found[2]


def braced(text: str, at: int) -> int:
    """Where the bracket that opens at `at` is closed, and one further."""
    depth = 0
    for i in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return i + 1
    raise ValueError(text[at : at + 80])


def tags(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """(what it says, [(tag, type, what follows)])."""
    said, found, at = "", list[tuple[str, str, str]](), 0
    for tag in re.finditer(r"@(param|returns|typedef|type) (?=\{)", text):
        if tag.start() < at:
            continue
        end = braced(text, tag.end())
        after = re.compile(r" ?(\[?[\w.]*\]?)").match(text, end)
        said += text[at : tag.start()]
        named = after[1] if after and tag[1] in ("param", "typedef") else ""
        found.append((tag[1], " ".join(text[tag.end() + 1 : end - 1].split()), named))
        at = after.end() if after and named else end
    return " ".join((said + text[at:]).split()), found


def members(source: str) -> Iterator[tuple[str, str]]:
    """(signature, what it does) of what an engine has."""
    group = ""
    for text, code in comments(source[source.index("export class Engine") :]):
        said, found = tags(text)
        if opened := re.match(r"this\.(\w+) = \{|(completions): \{|this\.(models|fetch) = ", code):
            group = opened[1] or ""
            if opened[3]:
                yield f"engine.{opened[3]}" + ("()" if opened[3] == "models" else "(input, init)"), said
            continue
        method = re.match(r"(static )?(?:async )?(\w+)\(|(\w+): (?:async )?\(", code)
        if not method or method[2] == "constructor" or not (said or found) or code.startswith("async #"):
            continue
        names = ", ".join(f"{n.strip('[]')}{'?' if n.startswith('[') else ''}: {kind}" for tag, kind, n in found if tag == "param")
        returns = "".join(f" → {kind}" for tag, kind, _ in found if tag == "returns")
        if method[3]:
            path = "chat.completions" if group == "chat" else group
            yield f"engine.{path}.{method[3]}({names}){returns}", said
        else:
            yield f"{'Engine' if method[1] else 'engine'}.{method[2]}({names}){returns}", said


def javascript() -> str:
    """The engine's methods."""
    return rows(("method", "what it does"), *((f"`{signature}`", said) for signature, said in members(CLIENT.read_text("utf-8"))))


def types() -> str:
    """The types of their arguments."""
    lines = []
    for text, _ in comments(CLIENT.read_text("utf-8")):
        said, found = tags(text)
        lines += [(f"`{name}`", f"`{kind}`", said) for tag, kind, name in found if tag == "typedef" and not kind.startswith("import(")]
    return rows(("type", "what it is", ""), *lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{globals()[found[2]]()}\n\n{found[3]}", text)


def main() -> int:
    before = PAGE.read_text("utf-8")
    after = page(before)
    if "--check" in sys.argv:
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
