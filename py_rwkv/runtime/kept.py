"""Where choices and passed self-tests are kept between runs: short texts by key, in a file natively, in IndexedDB in the page. All of it may be missing at any time."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from py_rwkv import __version__
from py_rwkv.resources import PACKAGE, shader_dir

MOST = 256  # texts in a file; the oldest go first


class Kept(Protocol):
    """Asynchronous because the page's is. Neither method raises for a storage that fails."""

    async def get(self, key: str) -> str | None: ...
    async def put(self, key: str, text: str) -> None: ...


class KeptFile:
    """A JSON file. A damaged one counts as empty; one that cannot be written changes nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "tuning.json"

    def all(self) -> dict[str, str]:
        try:
            data = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}

    async def get(self, key: str) -> str | None:
        return self.all().get(key)

    async def put(self, key: str, text: str) -> None:
        entries = {k: v for k, v in self.all().items() if k != key} | {key: text}
        entries = dict(list(entries.items())[-MOST:])
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_text(json.dumps(entries, indent=1), "utf-8")
                beside.replace(self.path)
            finally:
                beside.unlink(missing_ok=True)


def cache_dir() -> Path:
    """`py_rwkv` in the person's cache folder: $XDG_CACHE_HOME, else where the system keeps such things."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "py_rwkv"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "py_rwkv" / "cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "py_rwkv"


@cache
def build() -> str:
    """What the numbers a GPU makes depend on in this package: its version, the shaders, and the Python files that set them up."""
    files = [*sorted(shader_dir().rglob("*.wgsl"))]
    files += [path for folder in ("kernels", "models") for path in sorted((PACKAGE / folder).glob("*.py"))]
    found = sha256()
    for path in files:
        found.update(path.name.encode() + path.read_bytes())
    return f"{__version__} {found.hexdigest()[:16]}"
