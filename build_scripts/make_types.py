"""Writes the `.d.ts` types of what other sites import, from the JSDoc of `web/`, and checks them with a program that uses them.

python build_scripts/make_types.py OUTDIR
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv.site import vendor  # noqa: E402

ENTRIES = ("engine/client", "embed/element", "embed/protocol")
CONSUMER = ROOT / "tests/typescript/consumer.ts"
LAID_OUT = ROOT / ".cache/check/web"  # the types of the vendored libraries (check_js.py)
IMPORT = re.compile(r"""(?:from|import\()\s*["'](\.[^"']+)\.js["']""")


def tsc(config: dict[str, object], folder: Path) -> int:
    """TypeScript with this configuration in `folder`; its exit status."""
    path = folder / "tsconfig.json"
    path.write_text(json.dumps(config), "utf-8")
    node, _ = vendor.node(progress=print)
    compiler = vendor.fetch("tools", progress=print)["typescript"] / "bin/tsc"
    return subprocess.run([node, compiler, "--project", path, "--pretty", "false"], cwd=ROOT).returncode


def make(out: Path) -> int:
    """The types of ENTRIES and of what they name, in the folders of `web/`, below `out`. Needs what `check_js.lay_out_types` lays out. The exit status."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        options = {
            "noEmit": False,
            "declaration": True,
            "emitDeclarationOnly": True,
            "outDir": str(folder / "all"),
            "rootDir": str(ROOT / "web"),
            "rootDirs": [str(ROOT / "web"), str(LAID_OUT)],
        }
        files = [ROOT / f"web/{name}.js" for name in ENTRIES] + [ROOT / "web/app/vendor.d.ts", LAID_OUT / "webgpu.d.ts"]
        config = {
            "extends": str(ROOT / "web/jsconfig.json"),
            "compilerOptions": options,
            "files": [str(file) for file in files],
            "include": [],
        }
        if status := tsc(config, folder):
            return status
        waiting, seen = list(ENTRIES), set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            source = next(
                path for path in (folder / f"all/{name}.d.ts", ROOT / f"web/{name}.d.ts", LAID_OUT / f"{name}.d.ts") if path.is_file()
            )
            target = out / f"{name}.d.ts"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            base = (ROOT / "web" / name).parent
            waiting += [
                (base / found).resolve().relative_to(ROOT / "web").as_posix() for found in IMPORT.findall(source.read_text("utf-8"))
            ]
    return 0


def check() -> int:
    """The consumer against the types, without looking away from any of them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if status := make(folder / "dist"):
            return status
        exported = json.loads((ROOT / "web/package.json").read_text("utf-8"))["exports"]
        paths = {f"py-rwkv{name[1:]}": [str(folder / where["types"])] for name, where in exported.items() if isinstance(where, dict)}
        options = {
            "noEmit": True,
            "strict": True,
            "skipLibCheck": False,
            "target": "ES2022",
            "module": "ESNext",
            "moduleResolution": "Bundler",
            "lib": ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
            "types": [],
            "paths": paths,
        }
        return tsc({"compilerOptions": options, "files": [str(CONSUMER)]}, folder)


if __name__ == "__main__":
    from check_js import lay_out_types

    lay_out_types()
    sys.exit(make(Path(sys.argv[1])))
