"""Makes one file of a script and all the modules it imports: a page of eighty modules otherwise waits for eighty requests, the worker's after the page's.

Each module becomes a function that runs once, in the order in which a browser would run it, and returns what it exports. Libraries stay modules. A source map
leads back to the files in web/, comments included. It knows our sources, as the formatter leaves them, not JavaScript at large: exports of functions, classes
and constants, no import in a circle.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

_IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+|\w+) from "(\.[^"]+)";', re.MULTILINE)
_AGAIN = re.compile(r'^export (\{[^}]*\}) from "(\.[^"]+)";', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_LATER = re.compile(r"\bimport\(([\"`])(\.[^\"`$]*)")


class _Bundle:
    def __init__(self, site: Path, entry: str) -> None:
        self.site, self.folder, self.entry = site, dirname(entry), entry
        self.numbers: dict[str, int] = {}  # of modules that are in
        self.libraries: dict[str, int] = {}
        self.lines: list[str] = []
        self.sections: list[tuple[int, str, int]] = []  # first line, module, number of lines
        self.add(entry, ())

    def add(self, name: str, within: tuple[str, ...]) -> int:
        """Put a module in behind all that it imports; its number."""
        if name in within:
            raise ValueError(f"{' → '.join([*within, name])} is a circle")
        if name in self.numbers:
            return self.numbers[name]
        text = (self.site / name).read_text("utf-8").rstrip("\n")

        def address(path: str) -> str:
            return relpath(normpath(join(dirname(name), path)), self.folder or ".") + "/" * path.endswith("/")

        def module(path: str) -> str:
            found = normpath(join(dirname(name), path))
            if found.startswith("vendor/"):
                return f"$lib{self.libraries.setdefault(found, len(self.libraries))}"
            return f"$module{self.add(found, (*within, name))}"

        def take(found: re.Match[str]) -> str:
            names, source = found[1], module(found[2])
            if names.startswith("*"):
                names = names.removeprefix("* as ")
            elif names.startswith("{"):
                names = names.replace(" as ", ": ")
            else:
                source += ".default"
            return f"const {names} = {source};"

        def hand_on(found: re.Match[str]) -> str:
            source = module(found[2])
            exports.extend(f"{one}: {source}.{one}" for one in re.findall(r"\w+", found[1]))
            return ""

        exports = _EXPORT.findall(text)
        text = _AGAIN.sub(hand_on, _IMPORT.sub(take, text))
        text = _LATER.sub(lambda found: f"import({found[1]}{address(found[2])}", _EXPORT.sub("", text))
        if strange := re.search(r"^(?:import|export) .*", text, re.MULTILINE):
            raise ValueError(f"{name}: {strange[0]}")
        if name != self.entry:
            here = json.dumps(relpath(name, self.folder or "."))
            text = text.replace("import.meta.url", f"new URL({here}, import.meta.url).href")
        number = self.numbers[name] = len(self.numbers)
        self.lines.append("{" if name == self.entry else f"const $module{number} = (() => {{")
        body = text.split("\n")
        self.sections.append((len(self.lines), name, len(body)))
        self.lines += [*body, "}" if name == self.entry else f"return {{ {', '.join(exports)} }};\n}})();"]
        self.lines = "\n".join(self.lines).split("\n")
        return number


def bundle(site: Path, entry: str, sources: Path) -> list[str]:
    """Write it in the place of `entry`, and `entry`.map beside it; the modules that are in. `sources`: web/. ValueError for what it does not know."""
    made = _Bundle(site, entry)
    imports = [f'import * as $lib{number} from "{relpath(name, made.folder or ".")}";' for name, number in made.libraries.items()]
    sections = [
        {
            "offset": {"line": len(imports) + line, "column": 0},
            "map": {
                "version": 3,
                "sources": [relpath(name, made.folder or ".")],
                "sourcesContent": [(sources / name).read_text("utf-8")],
                "names": [],
                "mappings": ";".join(["AAAA"] + ["AACA"] * (count - 1)),
            },
        }
        for line, name, count in made.sections
    ]
    target = site / entry
    map_file = target.with_name(target.name + ".map")
    map_file.write_text(json.dumps({"version": 3, "file": target.name, "sections": sections}), "utf-8")
    target.write_text("\n".join([*imports, *made.lines, f"//# sourceMappingURL={map_file.name}", ""]), "utf-8")
    return list(made.numbers)
