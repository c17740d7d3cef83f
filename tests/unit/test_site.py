"""The static site: fetching what it is made of, building, serving. No network: packages are made here, clients are stand-ins."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import py_rwkv
from py_rwkv.errors import RwkvError
from py_rwkv.resources import web_dir
from py_rwkv.site import build as building
from py_rwkv.site import clients, vendor
from py_rwkv.site.serve import CSP, serve

Headers = dict[str, str]


def code_of(raised: pytest.ExceptionInfo[RwkvError]) -> str:
    return raised.value.code


# Fetching


def tarball(path: Path, **members: bytes | str) -> Path:
    """A .tgz with files (bytes) and links (str) of these names; `__` is a slash."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def test_unpack_drops_the_leading_folder(tmp_path: Path) -> None:
    vendor.unpack(tarball(tmp_path / "a.tgz", package__a=b"A", package__lib__b=b"B"), tmp_path / "out")
    assert {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        "a": b"A",
        "lib/b": b"B",
    }


@pytest.mark.parametrize("name", ["package/../../out", "/package/out", "package/a\\..\\out", "bare"])
def test_unpack_refuses_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(RwkvError) as raised:
        vendor.unpack(tarball(tmp_path / "a.tgz", **{name: b"x"}), tmp_path / "new" / "out")
    assert code_of(raised) == "archive-unsafe"
    assert not (tmp_path / "out").exists()


def test_unpack_refuses_links(tmp_path: Path) -> None:
    with pytest.raises(RwkvError) as raised:
        vendor.unpack(tarball(tmp_path / "a.tgz", package__a="/etc/passwd"), tmp_path / "out")
    assert code_of(raised) == "archive-unsafe"


def test_once_fills_once_and_leaves_nothing_after_a_failure(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RwkvError("internal", reason="x")

    with pytest.raises(RwkvError):
        vendor.once("@a/b", "key", fail, tmp_path)
    assert list((tmp_path / "vendor").iterdir()) == []
    first = vendor.once("@a/b", "key", lambda folder: (folder / "whole").touch(), tmp_path)
    assert [p.name for p in first.iterdir()] == ["whole"]
    assert vendor.once("@a/b", "key", fail, tmp_path) == first
    assert vendor.once("@a/b", "other", lambda folder: None, tmp_path) != first


def test_once_by_several_at_the_same_time(tmp_path: Path) -> None:
    meet = threading.Barrier(4)
    found: list[Path] = []

    def fill(folder: Path) -> None:
        (folder / "file").write_text("content")
        meet.wait(10)

    def fetch() -> None:
        found.append(vendor.once("a", "key", fill, tmp_path))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert [p.name for p in (tmp_path / "vendor").iterdir()] == [found[0].name]
    assert (found[0] / "file").read_text() == "content"


def stand_in(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_npm_package_is_checked_against_its_integrity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tarball(tmp_path / "ready.tgz", package__a=b"A")
    npm = stand_in(tmp_path / "npm", f'[ "$1 $2" = "pack thing@1.0" ] && cp {packed} "$4/thing-1.0.tgz"')
    monkeypatch.setattr(vendor, "node", lambda *_: ("node", (str(npm),)))
    good = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    pin = {"name": "thing", "version": "1.0", "integrity": good}
    assert (vendor.npm_package(pin, tmp_path / "cache") / "a").read_bytes() == b"A"
    npm.unlink()  # from now on only the cache can answer
    assert (vendor.npm_package(pin, tmp_path / "cache") / "a").read_bytes() == b"A"

    stand_in(npm, f'cp {packed} "$4/thing-1.0.tgz"')
    with pytest.raises(RwkvError) as raised:
        vendor.npm_package({**pin, "integrity": "sha512-" + "A" * 86 + "=="}, tmp_path / "cache")
    assert code_of(raised) == "package-mismatch"


def test_a_client_that_fails_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = stand_in(tmp_path / "npm", "echo 'no such address' >&2; exit 1")
    monkeypatch.setattr(vendor, "node", lambda *_: ("node", (str(npm),)))
    with pytest.raises(RwkvError, match=r"thing 1\.0 with npm: no such address") as raised:
        vendor.npm_package({"name": "thing", "version": "1.0", "integrity": ""}, tmp_path)
    assert code_of(raised) == "package-fetch-failed"

    monkeypatch.setattr(clients, "pip_command", lambda: (str(npm),))
    with pytest.raises(RwkvError, match=r"rwkv [\d.]+ with pip: no such address"):
        vendor.from_wheel("rwkv", [], tmp_path)


def test_pyodide_wheels_are_checked_against_pyodides_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyodide, names = tmp_path / "pyodide", vendor.pins()["pyodide_wheels"]
    pyodide.mkdir()
    packages = {name: {"file_name": f"{name}.whl", "sha256": hashlib.sha256(name.encode()).hexdigest()} for name in [*names, "unwanted"]}
    (pyodide / "pyodide-lock.json").write_text(json.dumps({"info": {}, "packages": packages}))

    def download(name: str, pin: Any, folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.whl", "w") as wheel:
            for each in names:
                wheel.writestr(f"{vendor.WHEELS_IN_OPEN_WEBUI}{each}.whl", contents[each])
        return folder / "a.whl"

    monkeypatch.setattr(clients, "pip_download", download)
    contents = {name: name for name in names}
    found = vendor.pyodide_wheels(pyodide, tmp_path / "good")
    assert {name: path.read_text() for name, path in found.items()} == {f"{name}.whl": name for name in names}

    contents[names[0]] = "changed"
    with pytest.raises(RwkvError) as raised:
        vendor.pyodide_wheels(pyodide, tmp_path / "bad")
    assert code_of(raised) == "package-mismatch"


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PY_RWKV_CACHE", str(tmp_path / "named"))
    assert vendor.cache_dir() == tmp_path / "named"
    monkeypatch.delenv("PY_RWKV_CACHE")
    monkeypatch.setattr(vendor, "checkout", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert vendor.cache_dir() == tmp_path / "py_rwkv"


def test_everything_is_pinned_and_nothing_names_a_host() -> None:
    pins = vendor.pins()
    assert all(len(base64.b64decode(pin["integrity"].removeprefix("sha512-"))) == 64 for pin in pins["npm"])
    assert all(len(digest) == 64 for pin in pins["pip"].values() for digest in pin["sha256"])
    assert "://" not in (web_dir() / "vendor.json").read_text("utf-8")


# Building


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stand-ins for everything that would be downloaded."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    table = vendor.pins()
    names = [target for pin in table["npm"] for target in pin.get("files", {})] + [
        f"pyodide/{name}.whl" for name in table["pyodide_wheels"]
    ]
    for name in [*names, "pyodide/pyodide-lock.json"]:
        (folder / Path(name).name).write_text(name)
    packages = {name: {"file_name": f"{name}.whl", "version": "1", "sha256": ""} for name in [*table["pyodide_wheels"], "unwanted"]}
    (folder / "pyodide-lock.json").write_text(json.dumps({"packages": packages}))
    monkeypatch.setattr(vendor, "fetch", lambda kind, progress: {name: folder / Path(name).name for name in names})
    monkeypatch.setattr(building.vocabulary, "ensure", lambda progress: None)


def test_the_page_gets_its_part_of_the_package_and_no_more() -> None:
    data = building.page_package()
    assert data == building.page_package()
    names = set(zipfile.ZipFile(io.BytesIO(data)).namelist())
    assert {
        "py_rwkv/__init__.py",
        "py_rwkv/errors.json",
        "py_rwkv/tokenizer/world.py",
        "py_rwkv/shaders/embed.wgsl",
        "py_rwkv/shaders/lib/step.wgsl",
    } <= names
    assert not [
        name
        for name in names
        if name.startswith(("py_rwkv/site", "py_rwkv/cli", "py_rwkv/web/")) or "wgpu_device" in name or "pycache" in name
    ]


@pytest.mark.usefixtures("fetched")
def test_build_writes_a_whole_site_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    site = building.build(tmp_path / "deep" / "site")
    (site / "stale.js").touch()
    assert building.build(site) == site
    assert [p.name for p in site.parent.iterdir()] == ["site"]
    assert not (site / "stale.js").exists()
    assert (site / "vendor/idb/index.js").read_text() == "idb/index.js"
    assert (site / "i18n/errors.json").is_file()
    assert not [p.name for p in site.rglob("*") if p.name in ("vendor.json", "jsconfig.json") or p.name.endswith(".d.ts")]

    about = json.loads((site / "build.json").read_text())
    for entry in [about["package"], *about["start"], *about["wheels"].values()]:
        content = (site / entry["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert (site / "embed/element.js").is_file() and (site / "embed.html").is_file()
    assert not [part["file"] for part in about["shell"] if "embed" in part["file"]]  # the page itself never asks for that
    for page in ("index.html", "bench.html"):
        text = (site / page).read_text("utf-8")
        asked = re.findall(r'(?:href|src)="([^"#]+)"', text)
        assert len(asked) == len(set(asked)) and all((site / name).exists() for name in asked)
        assert text.count('rel="stylesheet"') == 1 and set(re.findall(r'href="#(icon-\w+)"', text)) <= set(
            re.findall(r'id="(icon-\w+)"', text)
        )
    assert '"modulepreload" href="vendor/idb/index.js"' in (site / "index.html").read_text("utf-8")
    lock = json.loads((site / "vendor/pyodide/pyodide-lock.json").read_text())
    assert set(lock["packages"]) == set(about["wheels"]) == set(vendor.pins()["pyodide_wheels"])
    assert all((site / "vendor/pyodide" / package["file_name"]).is_file() for package in lock["packages"].values())


@pytest.mark.usefixtures("fetched")
def test_build_does_not_touch_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("x")
    (tmp_path / "file").write_text("x")
    for taken in ("thesis", "file"):
        with pytest.raises(RwkvError) as raised:
            building.build(tmp_path / taken)
        assert code_of(raised) == "site-folder-taken"
    assert (tmp_path / "thesis/chapter").read_text() == "x"


@pytest.mark.usefixtures("fetched")
def test_a_build_that_fails_leaves_the_earlier_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = building.build(tmp_path / "site")
    before = sorted(p.name for p in site.iterdir())

    def fail() -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr(building, "page_package", fail)
    with pytest.raises(OSError, match="disk full"):
        building.build(site)
    assert sorted(p.name for p in site.iterdir()) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fetched", "site"]


def test_the_npm_package_has_the_version_of_ours() -> None:
    package = json.loads((web_dir() / "package.json").read_text("utf-8"))
    assert (package["name"], package["version"], package["private"]) == ("py-rwkv", py_rwkv.__version__, True)


# Serving

SHARD = "0" * 64 + ".safetensors"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    site = tmp_path / "site"
    (site / "models").mkdir(parents=True)
    for name in ("index.html", "a.mjs", "a.wasm", "a.json", f"models/{SHARD}"):
        (site / name).write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("secret")
    with serve(site, port=0) as server:
        yield server.url.split("/")[2]


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, Headers, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/a.mjs?v=1", "text/javascript; charset=utf-8"),
        ("/a.wasm", "application/wasm"),
        ("/a.json", "application/json"),
    ],
)
def test_serve_sends_types_and_policy(address: str, path: str, media_type: str) -> None:
    status, headers, content = ask(address, path)
    assert (status, content) == (200, b"0123456789")
    assert headers["Content-Type"] == media_type
    assert headers["Content-Security-Policy"] == f"{CSP}; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"


def test_other_sites_may_use_the_engine_and_frame_one_page(address: str, tmp_path: Path) -> None:
    (tmp_path / "site/embed.html").write_bytes(b"")
    for path in ("/a.mjs", "/embed.html", f"/models/{SHARD}", "/missing"):
        headers = ask(address, path)[1]
        assert (headers["Access-Control-Allow-Origin"], headers["Cross-Origin-Resource-Policy"]) == ("*", "cross-origin"), path
    assert ask(address, "/embed.html?model=demo")[1]["Content-Security-Policy"] == CSP
    assert "frame-ancestors 'none'" in ask(address, "/index.html?/embed.html")[1]["Content-Security-Policy"]


def test_serve_revalidates_and_lets_shards_be_kept_for_ever(address: str) -> None:
    _, headers, _ = ask(address, "/a.mjs")
    assert ask(address, "/a.mjs", If_None_Match=headers["ETag"])[::2] == (304, b"")
    assert ask(address, "/a.mjs", If_None_Match='"other"')[::2] == (200, b"0123456789")
    assert "immutable" in ask(address, f"/models/{SHARD}")[1]["Cache-Control"]


@pytest.mark.parametrize(
    ("wanted", "status", "content", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
    ],
)
def test_serve_ranges(address: str, wanted: str, status: int, content: bytes, told: str | None) -> None:
    found, headers, body = ask(address, "/a.wasm", Range=wanted)
    assert (found, body, headers.get("Content-Range")) == (status, content, told)


def test_serve_head(address: str) -> None:
    status, headers, content = ask(address, "/a.wasm", "HEAD")
    assert (status, headers["Content-Length"], content) == (200, "10", b"")


@pytest.mark.parametrize("path", ["/nothing", "/models/", "/../secret", "/%2e%2e/secret", "/models/..%2f..%2fsecret"])
def test_serve_shows_nothing_else(address: str, path: str) -> None:
    status, headers, content = ask(address, path)
    assert status == 404
    assert b"secret" not in content.replace(path.encode(), b"")
    assert headers["Content-Security-Policy"].startswith(CSP)


def test_serve_takes_the_next_free_port_unless_one_was_named(tmp_path: Path) -> None:
    with serve(tmp_path) as first, serve(tmp_path) as second:
        assert first.url != second.url
        with pytest.raises(RwkvError) as raised:
            serve(tmp_path, port=int(first.url.rstrip("/").rsplit(":", 1)[1]))
        assert code_of(raised) == "port-busy"
    with pytest.raises(RwkvError) as raised:
        serve(tmp_path, port=70_000)
    assert code_of(raised) == "port-busy"
    with pytest.raises(RwkvError) as raised:
        serve(tmp_path / "missing")
    assert code_of(raised) == "resource-missing"
