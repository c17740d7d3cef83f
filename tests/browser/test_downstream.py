"""The pytest plugin, as other projects get it: the wheel in a fresh virtual environment, and the sample project's own tests there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from py_rwkv.site import vendor

ROOT = Path(__file__).parents[2]
TESTED = ("numpy", "wgpu", "pytest", "playwright")  # what the wheel and the sample project ask for, at the versions of requirements-dev.txt
QUIET = ("--quiet", "--disable-pip-version-check")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH", "COV_"))}
    return subprocess.run(list(map(str, command)), env=kept | environment, text=True, capture_output=True, timeout=280)


def pip(*arguments: str | Path, python: Path | None = None) -> None:
    chosen = ("--python", python) if python else ()
    done = run(sys.executable, "-m", "pip", *chosen, *arguments, *QUIET)
    assert done.returncode == 0, done.stderr


def wheelhouse() -> Path:
    """The wheels of TESTED and what they need, fetched once: a test that runs again needs no network."""
    constraints = "\n".join(re.findall(r"^[\w.-]+==[^ ;\\]+", (ROOT / "requirements-dev.txt").read_text("utf-8"), re.MULTILINE))

    def fill(folder: Path) -> None:
        (folder / "constraints.txt").write_text(constraints, "utf-8")
        pip("download", "--only-binary", ":all:", "--constraint", folder / "constraints.txt", "--dest", folder, *TESTED)

    return vendor.once("downstream-wheels", f"{sys.version_info} {sys.platform} {constraints} {TESTED}", fill)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs pytest in the sample project."""
    folder = tmp_path_factory.mktemp("downstream")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("py_rwkv-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip("install", "--no-compile", "--no-index", "--find-links", wheelhouse(), f"{wheel}[testing]", python=python)
    shutil.copytree(ROOT / "tests/downstream", folder / "project")
    cache = str(vendor.cache_dir())  # Pyodide and the page's libraries, which the first build fetches

    def pytest_(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = (python, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder / "project", folder / "project/tests", *arguments)
        return run(*command, PY_RWKV_CACHE=cache, **environment)

    return pytest_


def test_a_project_tests_with_nothing_but_the_wheel(sample: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = sample("-q")
    assert re.search(r"^7 passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_what_is_missing_fails_and_says_what_to_install(sample: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = sample("-q", "-o", "rwkv_chromium=no-such-browser", "-k", "own_page")
    assert done.returncode == 1 and "1 error" in done.stdout and "skipped" not in done.stdout, done.stdout + done.stderr
    assert "The browser 'no-such-browser' that `rwkv_chromium` names is not there. Install one" in done.stdout
