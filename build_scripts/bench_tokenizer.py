"""How fast the tokenizers are, here or in Pyodide (under Node): text per second by kind of text, and the time until the vocabulary is ready.

    python build_scripts/bench_tokenizer.py                                  # the World tokenizer in this Python
    python build_scripts/bench_tokenizer.py --pyodide                        # in the Pyodide that the page uses; needs node
    python build_scripts/bench_tokenizer.py --tokenizer 20B_tokenizer.json   # another tokenizer; its words are cached, so each text counts the first time

The texts are this repository's own: English (docs), Chinese (the page's and the errors' texts), code (Python, JavaScript, WGSL).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time

ROOT = Path(__file__).parents[1]
PASSES = 5  # the best counts


def texts(root: Path) -> dict[str, str]:
    """{kind: text} of 100 to 400 kB each."""

    def joined(*patterns: str) -> str:
        return "\n".join(path.read_text("utf-8") for pattern in patterns for path in sorted(root.glob(pattern)))[:400_000]

    chinese = [line for line in joined("web/i18n/zh/*.json", "py_rwkv/errors.json").split("\n") if re.search("[\u4e00-\u9fff]", line)]
    return {
        "English": joined("LICENSE", "docs/*.md", "README.md"),
        "Chinese": "\n".join("".join(re.findall("[\u3000-\u9fff\uff00-\uffef]+", line)) for line in chinese) * 4,
        "code": joined("py_rwkv/*/*.py", "web/engine/*.js", "shaders/*.wgsl"),
    }


def measure(samples: dict[str, str], tokenizer: bytes | None) -> dict[str, float]:
    """Of processor time: {"ready_ms": import and vocabulary, kind: MB/s, "mixed": MB/s of all kinds in equal parts of bytes}."""
    began = process_time()
    from py_rwkv.tokenizer import open_tokenizer, tokenizer_for

    found = {"ready_ms": 0.0}
    made = tokenizer_for("world") if tokenizer is None else open_tokenizer(tokenizer)
    found["ready_ms"] = 1e3 * (process_time() - began)
    pace = []  # seconds per byte
    for kind, text in samples.items():
        seconds = []
        for _ in range(1 if tokenizer else PASSES):
            began = process_time()
            made.encode(text)
            seconds.append(process_time() - began)
        pace.append(min(seconds) / len(text.encode()))
        found[kind] = 1e-6 / pace[-1]
    return found | {"mixed": 1e-6 * len(pace) / sum(pace)}


IN_PYODIDE = """
import fs from "node:fs";
const [home, zip, input] = process.argv.slice(2);
const { loadPyodide } = await import(home + "/pyodide.mjs");
const pyodide = await loadPyodide({ indexURL: home + "/" });
pyodide.FS.mkdir("/bench");
pyodide.unpackArchive(new Uint8Array(fs.readFileSync(zip)), "zip", { extractDir: "/bench" });
pyodide.FS.writeFile("/input.json", fs.readFileSync(input));
console.log(pyodide.runPython(`
import base64, json, sys
sys.path.insert(0, "/bench")
import bench_tokenizer
given = json.load(open("/input.json"))
json.dumps(bench_tokenizer.measure(given["texts"], base64.b64decode(given["tokenizer"]) or None))
`));
"""


def in_pyodide(samples: dict[str, str], tokenizer: bytes | None) -> dict[str, float]:
    """`measure` under Node, with the vendored Pyodide."""
    import base64
    import zipfile

    sys.path.insert(0, str(ROOT))
    from py_rwkv.site import vendor

    home = next((vendor.cache_dir() / "vendor").glob("pyodide-3*"), None)
    if home is None:
        raise SystemExit("Build the site first: py-rwkv build build/site")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with zipfile.ZipFile(work / "package.zip", "w") as archive:
            archive.write(__file__, "bench_tokenizer.py")
            for path in [*ROOT.glob("py_rwkv/*.py"), *ROOT.glob("py_rwkv/*.json"), *ROOT.glob("py_rwkv/tokenizer/*.*")]:
                archive.write(path, path.relative_to(ROOT))
        (work / "input.json").write_text(json.dumps({"texts": samples, "tokenizer": base64.b64encode(tokenizer or b"").decode()}))
        (work / "run.mjs").write_text(IN_PYODIDE)
        arguments: list[str | Path] = ["node", work / "run.mjs", home, work / "package.zip", work / "input.json"]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pyodide", action="store_true")
    p.add_argument("--tokenizer", type=Path, metavar="FILE")
    args = p.parse_args()
    data = args.tokenizer.read_bytes() if args.tokenizer else None
    sys.path.insert(0, str(ROOT))
    found = (in_pyodide if args.pyodide else measure)(texts(ROOT), data)
    print(f"ready in {found.pop('ready_ms'):.0f} ms; MB/s: " + ", ".join(f"{kind} {speed:.2f}" for kind, speed in found.items()))


if __name__ == "__main__":
    main()
