"""How long masks of structured output take over World's 65529 tokens, here or in Pyodide (under Node): milliseconds a token, first time and after.

    python build_scripts/bench_structured.py                # in this Python
    python build_scripts/bench_structured.py --pyodide      # in the Pyodide that the page uses; needs node, and a site built once

Each text is taken token by token through its grammar twice: the first time masks are worked out (and what they share with others before them is known already),
the second time they are remembered. Processor time; a text's tokens are those of the tokenizer, which is not how a model need cut it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from time import process_time
from typing import Any

ROOT = Path(__file__).parents[1]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}},
        "kind": {"enum": ["human", "robot", "other"]},
        "height": {"type": "number", "minimum": 0.3, "maximum": 2.6},
    },
    "required": ["name", "email", "tags", "kind", "height"],
    "additionalProperties": False,
}
ANOTHER = {**PERSON, "properties": {**PERSON["properties"], "kind": {"enum": ["poet", "sailor"]}}}  # type: ignore[dict-item]
TREE = {
    "type": "object",
    "properties": {"v": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["v", "kids"],
    "additionalProperties": False,
}
ADA = '{"name": "Ada Lovelace, \\"countess\\"", "email": "ada@example.org", "tags": ["mathematics", "the first one"], "kind": "human", "height": 1.65}'
GRACE = '{"name": "Grace Hopper", "email": "grace@navy.example.mil", "tags": ["compilers", "a moth"], "kind": "sailor", "height": 1.68}'


def texts() -> list[tuple[str, Any, str]]:
    """(what it is, its grammar, a text of it)."""
    from py_rwkv.structured import alternatives, json_object, json_schema, regex, sequence

    tool = alternatives(sequence("<tool_call>", json_object(), "</tool_call>"), regex(r"[^<\s][\s\S]*"))
    return [
        ("a schema with strings", json_schema(PERSON), ADA),
        ("another such schema", json_schema(ANOTHER), GRACE),
        ("any object", json_object(), '{"a": [1, 2.5e3, {"b": null, "c": "two words"}], "longer key": {"x": "日本語", "y": true}}'),
        (
            "a recursive schema",
            json_schema(TREE),
            '{"v": "root", "kids": [{"v": "first child", "kids": []}, {"v": "2", "kids": [{"v": "", "kids": []}]}]}',
        ),
        ("date-time", json_schema({"type": "string", "format": "date-time"}), '"2024-02-29T12:30:59Z"'),
        ("a bounded multiple", json_schema({"type": "integer", "multipleOf": 7, "maximum": 10**9, "minimum": 0}), "123456788"),
        ("text or a call", tool, "Any text at all, really. 什么都行。"),
        ("pattern: telephone", regex(r"(\+\d{1,3} )?\(\d{3}\) \d{3}-\d{4}"), "+49 (123) 456-7890"),
        ("pattern: sentence", regex(r"[A-Z][a-z]*( [a-z]+){2,8}[.!?]"), "The quick brown fox jumps over it."),
        ("pattern: counts within counts", regex(r"(?:[a-z]+ ?){1,30}"), "some words and some more words in a row"),
    ]


def measure() -> list[tuple[str, int, float, float, float, float]]:
    """(what, tokens, first: mean and worst, again: mean and worst), in milliseconds; first of all the vocabulary made ready."""
    from py_rwkv.structured.masks import index_of
    from py_rwkv.tokenizer import WorldTokenizer

    tokenizer = WorldTokenizer.load()
    began = process_time()
    index_of(tokenizer)
    found = [("the vocabulary made ready", 0, 0.0, 1e3 * (process_time() - began), 0.0, 0.0)]
    for name, grammar, text in texts():
        tokens, times = tokenizer.encode(text), list[float]()
        for _ in range(2):
            matcher = grammar.matcher(tokenizer, tokenizer.stop_tokens)
            for token in tokens:
                began = process_time()
                matcher.mask()
                times.append(1e3 * (process_time() - began))
                matcher.advance(token)
        first, again = times[: len(tokens)], times[len(tokens) :]
        found.append((name, len(tokens), sum(first) / len(first), max(first), sum(again) / len(again), max(again)))
    return found


IN_PYODIDE = """
import fs from "node:fs";
const [home, zip] = process.argv.slice(2);
const { loadPyodide } = await import(home + "/pyodide.mjs");
const pyodide = await loadPyodide({ indexURL: home + "/" });
pyodide.FS.mkdir("/bench");
pyodide.unpackArchive(new Uint8Array(fs.readFileSync(zip)), "zip", { extractDir: "/bench" });
console.log(pyodide.runPython(`
import json, sys
sys.path.insert(0, "/bench")
import bench_structured
json.dumps(bench_structured.measure())
`));
"""


def in_pyodide() -> list[tuple[str, int, float, float, float, float]]:
    """`measure` under Node, with the vendored Pyodide."""
    from py_rwkv.site import vendor

    home = next((vendor.cache_dir() / "vendor").glob("pyodide-3*"), None)
    if home is None:
        raise SystemExit("Build the site first: py-rwkv build build/site")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with zipfile.ZipFile(work / "package.zip", "w") as archive:
            archive.write(__file__, "bench_structured.py")
            for path in [
                *ROOT.glob("py_rwkv/*.py"),
                *ROOT.glob("py_rwkv/*.json"),
                *ROOT.glob("py_rwkv/tokenizer/*.*"),
                *ROOT.glob("py_rwkv/structured/*.py"),
            ]:
                archive.write(path, path.relative_to(ROOT))
        (work / "run.mjs").write_text(IN_PYODIDE)
        done = subprocess.run(["node", work / "run.mjs", home, work / "package.zip"], stdout=subprocess.PIPE, text=True, check=True)
    return [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pyodide", action="store_true")
    args = p.parse_args()
    sys.path.insert(0, str(ROOT))
    print(f"{'ms a token':32} tokens  first: mean  worst   again: mean  worst")
    for name, tokens, *times in in_pyodide() if args.pyodide else measure():
        print(f"{name:32} {tokens:6}  {times[0]:11.2f} {times[1]:6.1f}  {times[2]:12.3f} {times[3]:6.2f}")


if __name__ == "__main__":
    main()
