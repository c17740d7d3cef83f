"""One script of many modules: in order, each name where it belongs, and a source map that leads back to every line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from py_rwkv.site import strip
from py_rwkv.site.bundle import bundle

MODULES = {
    "app/start.js": """// @ts-check
import pure from "../vendor/pure/pure.mjs";
import { helper as help, LIMIT } from "./inside/helper.js";
import * as engine from "../engine/client.js";

const answer = await help(pure, LIMIT, engine.Engine);
""",
    "app/inside/helper.js": """/** Helps. */
import {
  RwkvError,
  localized,
} from "../../engine/errors.js";

const ROOT = new URL("../../", import.meta.url);
export const LIMIT = 3; // of them
export async function helper(a) {
  return [a, ROOT, new RwkvError(localized), import("../../vendor/later/core.js"), import(`../../vendor/later/${a}.js`)];
}
""",
    "engine/client.js": """import { RwkvError } from "./errors.js";

export { localized, RwkvError } from "./errors.js";

export class Engine {
  error = new RwkvError();
}
""",
    "engine/errors.js": """export class RwkvError {}
export function localized() {}
""",
}
BUNDLED = """import * as $lib0 from "../vendor/pure/pure.mjs";
const $module0 = (() => {
export class RwkvError {}
export function localized() {}
return { RwkvError, localized };
})();
const $module1 = (() => {

const {
RwkvError,
localized,
} = $module0;

const ROOT = new URL("../../", new URL("inside/helper.js", import.meta.url).href);
const LIMIT = 3;
async function helper(a) {
return [a, ROOT, new RwkvError(localized), import("../vendor/later/core.js"), import(`../vendor/later/${a}.js`)];
}
return { LIMIT, helper };
})();
const $module2 = (() => {
const { RwkvError } = $module0;



class Engine {
error = new RwkvError();
}
return { Engine, localized: $module0.localized, RwkvError: $module0.RwkvError };
})();
{

const pure = $lib0.default;
const { helper: help, LIMIT } = $module1;
const engine = $module2;

const answer = await help(pure, LIMIT, engine.Engine);
}
//# sourceMappingURL=start.js.map
""".replace("export class", "class").replace("export function", "function")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A site before its modules are brought together, and the sources it is from."""
    for root in (tmp_path / "site", tmp_path / "web"):
        for name, text in MODULES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")
    strip.folder(tmp_path / "site")
    return tmp_path / "site", tmp_path / "web"


def test_every_module_runs_once_after_those_it_needs(folders: tuple[Path, Path]) -> None:
    site, sources = folders
    assert bundle(site, "app/start.js", sources) == ["engine/errors.js", "app/inside/helper.js", "engine/client.js", "app/start.js"]
    assert (site / "app/start.js").read_text("utf-8") == BUNDLED


def test_the_source_map_leads_back_to_every_line(folders: tuple[Path, Path]) -> None:
    site, sources = folders
    bundle(site, "app/start.js", sources)
    lines = BUNDLED.split("\n")
    sections = json.loads((site / "app/start.js.map").read_text("utf-8"))["sections"]
    assert [s["map"]["sources"] for s in sections] == [["../engine/errors.js"], ["inside/helper.js"], ["../engine/client.js"], ["start.js"]]
    for section in sections:
        [source] = section["map"]["sourcesContent"]
        assert source == (sources / "app" / section["map"]["sources"][0]).read_text("utf-8")
        mapped = section["map"]["mappings"].split(";")
        assert mapped == ["AAAA"] + ["AACA"] * (len(source.rstrip("\n").split("\n")) - 1)  # line for line
        first = section["offset"]["line"]
        there = [
            line
            for line in source.split("\n")
            if line.strip().startswith(("const ROOT", "error =", "const answer", "export class RwkvError"))
        ]
        for line in there:
            assert lines[first + source.split("\n").index(line)].split("=")[0] == line.strip().removeprefix("export ").split("=")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('import Library, { other } from "../vendor/x/x.mjs";', "app/main.js: import Library, { other }"),
        ("export default 3;", "app/main.js: export default 3;"),
        ("export const [a, b] = [1, 2];", "app/main.js: export const"),
        ('import { a } from "./main.js";', "app/main.js → app/main.js is a circle"),
    ],
)
def test_what_it_does_not_know_is_refused(folders: tuple[Path, Path], text: str, said: str) -> None:
    site, sources = folders
    (site / "app/main.js").write_text(text + "\n", "utf-8")
    with pytest.raises(ValueError, match=re.escape(said)):
        bundle(site, "app/main.js", sources)
