"""Type-checks and formats `web/` with the pinned TypeScript and Prettier, and checks the types that other sites get.

    python build_scripts/check_js.py           tsc --noEmit, prettier --check, and make_types.check
    python build_scripts/check_js.py --write   prettier --write

The types of the vendored libraries are laid out in `.cache/check/web/`, which `web/jsconfig.json` overlays on `web/` (`rootDirs`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv.site import vendor  # noqa: E402


def lay_out_types() -> None:
    target = ROOT / ".cache/check/web"
    shutil.rmtree(target, ignore_errors=True)
    for name, source in vendor.fetch("types", progress=print).items():
        path = target / (name if name == "webgpu.d.ts" else f"vendor/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = source.read_text("utf-8").splitlines(keepends=True)
        path.write_text(
            "".join(line for line in lines if not line.startswith("/// <reference types=")), "utf-8"
        )  # names packages that are not here


def main() -> int:
    node, _ = vendor.node(progress=print)
    tools = vendor.fetch("tools", progress=print)
    prettier = [
        node,
        tools["prettier"] / "bin/prettier.cjs",
        "--log-level=warn",
        "web/**/*.{js,css,html,json,d.ts}",
        "!web/models/**",
        "!web/dist/**",
        "tests/typescript/*.ts",
    ]
    if "--write" in sys.argv:
        return subprocess.run([*prettier, "--write"], cwd=ROOT).returncode
    lay_out_types()
    types = subprocess.run([node, tools["typescript"] / "bin/tsc", "--project", "web/jsconfig.json", "--pretty", "false"], cwd=ROOT)
    style = subprocess.run([*prettier, "--check"], cwd=ROOT)
    import make_types  # which needs what lay_out_types has laid out

    return types.returncode or style.returncode or make_types.check()


if __name__ == "__main__":
    sys.exit(main())
