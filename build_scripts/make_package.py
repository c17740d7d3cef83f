"""Packs the npm package: the site, with types. It is not published.

python build_scripts/make_package.py OUTDIR    writes OUTDIR/py-rwkv-VERSION.tgz
cd web && npm pack                             the same, in web/ (`--here` and `--clean` are its two scripts)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "build_scripts")]

import check_js  # noqa: E402
import make_types  # noqa: E402

from py_rwkv.errors import RwkvError  # noqa: E402
from py_rwkv.site import vendor  # noqa: E402
from py_rwkv.site.build import build  # noqa: E402

WEB = ROOT / "web"
FLAGS = ("--ignore-scripts", "--loglevel=error", "--no-update-notifier", "--offline")


def fill(dist: Path, site: Path | None = None) -> None:
    """`dist` becomes the site (this one, else a new one) with types and licence."""
    if site:
        shutil.copytree(site, dist)
    else:
        build(dist, progress=print)
    check_js.lay_out_types()
    if make_types.make(dist):
        raise RwkvError("internal", reason="the types could not be made")
    shutil.copyfile(ROOT / "LICENSE", dist / "LICENSE")


def pack(out: Path, site: Path | None = None) -> Path:
    """The tarball, in `out`; npm is this machine's, or the one of the pinned wheel."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("package.json", "README.md"):
            shutil.copyfile(WEB / name, folder / name)
        fill(folder / "dist", site)
        _, npm = vendor.node(progress=print)
        out.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*npm, "pack", "--pack-destination", out.resolve(), *FLAGS], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RwkvError("package-fetch-failed", what="py-rwkv", client="npm", reason=done.stderr.strip()[-500:])
        return out / done.stdout.strip().splitlines()[-1]


def main() -> None:
    if sys.argv[1:] in (["--here"], ["--clean"]):
        shutil.rmtree(WEB / "dist", ignore_errors=True)
        if "--here" in sys.argv:
            try:
                fill(WEB / "dist")
            except BaseException:
                shutil.rmtree(WEB / "dist", ignore_errors=True)  # npm runs the other script only after success
                raise
    else:
        print(pack(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
