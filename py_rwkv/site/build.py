"""Builds the static site: the page, the vendored files, the Python package for the page, and `build.json`, which tells the worker what to load.

    OUTDIR/index.html, app/, engine/, i18n/, models/           web/ as it is, less what only development needs
           embed.html, embed.js, embed/                        the same for other sites (docs/embed.md)
           vendor/                                             pinned libraries; vendor/pyodide/ with its wheels and a lock file of exactly those
           py_rwkv-HASH.zip                                    the part of this package that the page runs, to be unpacked on sys.path
           models/*/pipelines.json                             what each model compiles on software adapters
           build.json                                          versions, names, sizes and hashes of all that; `shell`: what the page is made of
           sw.js                                               the service worker, which keeps the shell; it carries the build's id

Every address in it is relative, so the folder works below any path of any static file server.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import py_rwkv
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import Features, preset
from py_rwkv.resources import PACKAGE, shader_dir, web_dir
from py_rwkv.runtime.programs import build_programs, sample_program
from py_rwkv.site import gather, strip, vendor, vocabulary
from py_rwkv.site.serve import HEADERS

# Of web/, not part of the site.
DEVELOPMENT = ("vendor.json", "jsconfig.json", "package.json", "examples", "dist", "*.d.ts", "*.md", ".*", "__pycache__")
WORKER = "sw.js"
EMBED = ("embed/", "embed.html", "embed.js", "i18n/en/", "i18n/zh/", *gather.EMBED_SHEETS)  # for other sites, not for the page
BENCH = ("bench/models.py", "bench/peer.py", "bench/profile.py", "bench/timestamps.py")
# Of py_rwkv/, not part of the page.
NATIVE = ("site/", "cli/", "server/", "testing/", *BENCH, "__main__.py", "devices/wgpu_device.py", "py.typed", "web/")


def page_package() -> bytes:
    """The package for the page as a zip: Python files, `errors.json`, `world.bin`, shaders. The same sources give the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(_page_files()):
            archive.writestr(zipfile.ZipInfo(f"py_rwkv/{name}", (1980, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return data.getvalue()


def _page_files() -> Iterator[tuple[str, Path]]:
    for path in PACKAGE.rglob("*"):
        name = path.relative_to(PACKAGE).as_posix()
        if path.suffix in (".py", ".json", ".bin") and not name.startswith((*NATIVE, "shaders/")):
            yield name, path
    for path in shader_dir().rglob("*.wgsl"):
        yield f"shaders/{path.relative_to(shader_dir()).as_posix()}", path


def build(outdir: str | Path, progress: vendor.Progress = vendor.quiet) -> Path:
    """Write the site to `outdir` (new, empty, or an earlier site, which is replaced as a whole at the end). Returns its absolute path.

    Raises `site-folder-taken`, and what `vendor.fetch` raises when something is neither cached nor to be had.
    """
    target = Path(outdir).expanduser().resolve()
    if target.exists() and not (target.is_dir() and ((target / "build.json").is_file() or not any(target.iterdir()))):
        raise RwkvError("site-folder-taken", path=str(target))
    if not web_dir().is_dir():
        raise RwkvError("resource-missing", path=str(web_dir()))
    vocabulary.ensure(progress)
    files = vendor.fetch("page", progress=progress)
    progress(f"writing {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        site = Path(temporary) / "new"
        shutil.copytree(web_dir(), site, ignore=shutil.ignore_patterns(*DEVELOPMENT), copy_function=shutil.copyfile)
        for name, source in files.items():
            (site / "vendor" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, site / "vendor" / name)
        for part in sorted({path.parts[0] for path in map(Path, files)} - {"pyodide"}):
            strip.folder(site / "vendor" / part)
        for part in ("app", "engine", "embed", "bench"):
            strip.folder(site / part)
        gather.gather(site, web_dir())
        shutil.copyfile(PACKAGE / "errors.json", site / "i18n" / "errors.json")
        lock = vendor.lock(files["pyodide/pyodide.mjs"].parent)
        (site / "vendor/pyodide/pyodide-lock.json").write_text(json.dumps(lock), "utf-8")
        for manifest in (site / "models").glob("*/manifest.json"):
            (manifest.parent / "pipelines.json").write_text(json.dumps(_pipelines(manifest)), "utf-8")
        (site / "build.json").write_text(json.dumps(_describe(site, lock), indent=1) + "\n", "utf-8")
        site.chmod(0o755)  # mkdtemp's 0700 is on its parent, but copytree copies the mode of web/
        if target.exists():
            target.rename(Path(temporary) / "old")
        site.rename(target)
    return target


def _pipelines(manifest: Path) -> list[object]:
    """What a model's Programs need on a software adapter, for web/engine/pipelines.js: the page compiles them while Python starts for the first time."""
    model = Manifest.from_json(manifest.read_text("utf-8"))
    tuning = preset(Features(software=True, subgroups=(4, 4)))  # SwiftShader, which Chromium brings along
    decode, prefill = build_programs(model, tuning.decode, tuning.prefill, Limits(), 1)
    later = [sample_program(decode, model.config.vocab, 1), prefill]
    specs = decode.to_wire()["pipelines"] + [spec | {"later": True} for program in later for spec in program.to_wire()["pipelines"]]
    found: dict[str, object] = {}
    for spec in specs:
        found.setdefault(spec["code"], spec)
    return list(found.values())


def _describe(site: Path, lock: dict[str, dict[str, dict[str, str]]]) -> dict[str, object]:
    """Adds the package zip to `site` and returns what build.json says; paths are relative to the site's root, sizes are in bytes."""
    package = page_package()
    name = f"py_rwkv-{hashlib.sha256(package).hexdigest()[:16]}.zip"
    (site / name).write_bytes(package)

    def entry(path: str) -> dict[str, object]:
        content = (site / path).read_bytes()
        return {"file": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    pins = [pin for pin in vendor.pins()["npm"] if pin.get("files")]
    shell = [entry(path) for path in sorted(_shell(site, {wheel["file_name"] for wheel in lock["packages"].values()}))]
    build_id = hashlib.sha256(json.dumps([shell, HEADERS, (site / WORKER).read_text("utf-8")]).encode()).hexdigest()[:16]
    _name_build(site / WORKER, build_id)
    core = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
    return {
        "py_rwkv": py_rwkv.__version__,
        "id": build_id,
        "package": entry(name),
        "pyodide": {"version": next(pin["version"] for pin in pins if pin["name"] == "pyodide"), "path": "vendor/pyodide/"},
        "start": [entry(f"vendor/pyodide/{file}") for file in core] + [entry(name)],  # what booting Python downloads
        "wheels": {
            key: {"version": wheel["version"], **entry(f"vendor/pyodide/{wheel['file_name']}")} for key, wheel in lock["packages"].items()
        },
        "libraries": [{key: pin[key] for key in ("name", "version", "license")} for pin in pins],
        "shell": shell,
        "headers": HEADERS,
    }


def _shell(site: Path, wheels: set[str]) -> Iterator[str]:
    """What the page is made of, models, optional wheels and what is for other sites apart: everything that the service worker keeps."""
    for path in site.rglob("*"):
        name = path.relative_to(site).as_posix()
        ours = name.startswith(("app/", "bench/", "engine/"))
        part = ours and path.suffix in (".js", ".map", ".svg") and name not in (*gather.SCRIPTS, "app/early.js")  # is in another file
        if path.is_file() and name != WORKER and not part and not name.startswith(("models/", *EMBED)) and path.name not in wheels:
            yield name


def _name_build(worker: Path, build_id: str) -> None:
    """A service worker that differs from the one before is how a browser learns of a new build."""
    text, count = re.subn(r'^const BUILD = ".*?"', f'const BUILD = "{build_id}"', worker.read_text("utf-8"), flags=re.MULTILINE)
    assert count == 1, "web/sw.js names its build once"
    worker.write_text(text, "utf-8")
