"""The service worker: a page that needs no server after its first visit, below any path of any server; new builds as a whole, when somebody asks for them."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from py_rwkv.site.serve import HEADERS

CAPITAL = """rwkv.chat.completions.create({messages: [{role: "user", content: "What is the capital of Norway?"}], temperature: 0})
    .then((answer) => answer.choices[0].message.content)"""
LOOK = """async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    await registration.update().catch(() => {});
    const worker = registration.installing ?? registration.waiting;
    for (let waits = 0; worker?.state === "installing" && waits < 600; waits++) await new Promise((go) => setTimeout(go, 100));
    return worker?.state;
}"""
BUILD = "fetch('build.json').then((response) => response.json()).then((build) => build.id)"


class Plain(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Host:
    """A plain file server that sends no policy, with the site below a path; it can be stopped, and go on at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), functools.partial(Plain, directory=str(self.folder.parent)))
        self.http.daemon_threads = True
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.folder.name}/"


def rebuild(folder: Path, title: str, whole: bool = True) -> str:
    """Another build in the place of this one, with another title; its id. whole: otherwise one of its files is still the old one."""
    text = json.loads((folder / "i18n/en.json").read_text("utf-8")) | {"title": title}
    content = json.dumps(text).encode()
    build = json.loads((folder / "build.json").read_text("utf-8"))
    entry = next(part for part in build["shell"] if part["file"] == "i18n/en.json")
    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    before, build["id"] = build["id"], hashlib.sha256(title.encode()).hexdigest()[:16]
    (folder / "build.json").write_text(json.dumps(build))
    worker = folder / "sw.js"
    later = worker.stat().st_mtime + 2
    worker.write_text(worker.read_text("utf-8").replace(f'"{before}"', f'"{build["id"]}"'))
    if whole:
        (folder / "i18n/en.json").write_bytes(content)
    for path in ("build.json", "sw.js", "i18n/en.json"):  # as if written seconds apart: that is how fine Last-Modified is
        os.utime(folder / path, (later, later))
    return str(build["id"])


@pytest.fixture
def host(site: Path, tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "below"
    shutil.copytree(site, folder)
    host = Host(folder)
    yield host
    host.stop()


@pytest.fixture
def context(browser: Browser, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    context = browser.new_context(**{**browser_context_args, "service_workers": "allow"})
    yield context
    context.close()


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-state=ready]")


def test_offline_after_one_visit_and_updates_as_a_whole(page: Page, host: Host) -> None:
    worker = host.folder / "sw.js"
    worker.rename(host.folder / "sw.away")
    page.goto(host.url)
    page.get_by_test_id("start").click()
    ready(page)  # where the service worker is missing, everything else works
    (host.folder / "sw.away").rename(worker)

    page.reload()
    page.wait_for_selector("html[data-offline=ready]")  # registered once the model was ready, and this page belongs to it
    first = page.evaluate(BUILD)
    assert first == json.loads((host.folder / "build.json").read_text("utf-8"))["id"]
    assert page.evaluate("navigator.serviceWorker.controller !== null && !('crossOriginIsolated' in window && crossOriginIsolated)")
    assert page.evaluate("caches.keys()") == [f"rwkv-shell {first}"]
    kept = page.evaluate("caches.keys().then(([name]) => caches.open(name)).then((c) => c.keys()).then((all) => all.map((one) => one.url))")
    assert not [url for url in kept if url.endswith((".safetensors", ".whl")) or "/models/demo/" in url]

    host.stop()
    page.reload()
    ready(page)
    assert "Oslo" in page.evaluate(CAPITAL)
    assert (
        page.evaluate("fetch('engine/worker.js').then((r) => r.headers.get('Content-Security-Policy'))")
        == HEADERS["Content-Security-Policy"]
    )  # no server sends it here

    host.start()
    rebuild(host.folder, "Half", whole=False)
    assert page.evaluate(LOOK) == "redundant"  # while files are still being copied, nothing of the new build counts
    expect(page.get_by_test_id("notice-update")).to_have_count(0)
    second = rebuild(host.folder, "Second")
    assert page.evaluate(LOOK) == "installed"
    expect(page.get_by_test_id("notice-update")).to_be_visible()
    assert page.evaluate(BUILD) == first and page.evaluate("fetch('i18n/en.json').then((r) => r.json())")["title"] != "Second"
    page.get_by_test_id("update").click()
    expect(page).to_have_title("Second")
    ready(page)
    assert page.evaluate(BUILD) == second and page.evaluate("caches.keys()") == [f"rwkv-shell {second}"]
    expect(page.get_by_test_id("notice-update")).to_have_count(0)


def test_the_page_can_be_installed(page: Page, site: Path, site_url: str) -> None:
    page.goto(site_url)
    found = page.evaluate("fetch(document.querySelector('link[rel=manifest]').href).then((r) => r.json())")
    assert found["start_url"] == found["scope"] == "./" and found["display"] == "standalone"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in found["icons"]}
    assert any(icon["purpose"] == "maskable" for icon in found["icons"])
    for icon in found["icons"]:
        size = page.evaluate(
            "src => new Promise((done, fail) => { const i = new Image(); i.onload = () => done(`${i.naturalWidth}x${i.naturalHeight}`); i.onerror = fail; i.src = src; })",
            icon["src"],
        )
        assert icon["sizes"] in ("any", size)
        assert (site / icon["src"]).stat().st_size <= 20_000


def test_everything_the_page_asks_for_is_kept(site: Path) -> None:
    build = json.loads((site / "build.json").read_text("utf-8"))
    kept = {part["file"] for part in build["shell"]}
    assert {part["file"] for part in build["start"]} <= kept and {"index.html", "manifest.webmanifest", "engine/worker.js"} <= kept
    for part in build["shell"]:
        content = (site / part["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part["bytes"], part["sha256"])
    page = (site / "index.html").read_text("utf-8")
    assert {path for path in re.findall(r'(?:href|src)="([\w./-]+)"', page) if "." in path} <= kept | {"./"}
    assert f'const BUILD = "{build["id"]}"' in (site / "sw.js").read_text("utf-8")
