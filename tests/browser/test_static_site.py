"""The site by itself: Pyodide boots from it in a module worker under the policy, with nothing from elsewhere, below any path of any file server."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request

from py_rwkv.site.serve import serve

WORKER = """
import { loadPyodide } from "../vendor/pyodide/pyodide.mjs";
const at = { start: performance.now() };
const build = await (await fetch(new URL("../build.json", import.meta.url))).json();
const pyodide = await loadPyodide({ indexURL: new URL("../vendor/pyodide/", import.meta.url).href });
at.boot = performance.now() - at.start;
pyodide.unpackArchive(await (await fetch(new URL("../" + build.package.file, import.meta.url))).arrayBuffer(), "zip", { extractDir: "/package" });
const small = await pyodide.runPythonAsync(`
import sys
sys.path.insert(0, "/package")
import py_rwkv
from py_rwkv.resources import shader_dir
from py_rwkv.errors import texts
[sys.version_info[:2], "numpy" in sys.modules, (shader_dir() / "embed.wgsl").exists(), "internal" in texts()]`);
at.package = performance.now() - at.start - at.boot;
await pyodide.loadPackage("micropip");
const total = await pyodide.runPythonAsync(`
import micropip
await micropip.install("numpy")
import numpy
int(numpy.arange(5).sum())`);
at.numpy = performance.now() - at.start - at.boot - at.package;
let refused = false;
try { new Function("return 1"); } catch { refused = true; }
postMessage({ small: small.toJs(), total, refused, at });
"""
PAGE = """
const policy = globalThis.trustedTypes?.createPolicy("rwkv", { createScriptURL: (url) => url });
const url = new URL("worker.js", import.meta.url).href;
const worker = new Worker(policy?.createScriptURL(url) ?? url, { type: "module" });
window.answer = new Promise((resolve, reject) => {
  worker.onmessage = (event) => resolve(event.data);
  worker.onerror = (event) => reject(new Error(event.message));
});
"""


@pytest.fixture(scope="module")
def probe(site: Path) -> Path:
    """The site with a page of ours in it."""
    (site / "probe").mkdir(exist_ok=True)
    (site / "probe/worker.js").write_text(WORKER)
    (site / "probe/main.js").write_text(PAGE)
    (site / "probe/index.html").write_text('<!doctype html><link rel="icon" href="data:,"><script type="module" src="main.js"></script>')
    return site


class Plain(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=["ours", "plain-sub-path"])
def address(request: pytest.FixtureRequest, probe: Path) -> Iterator[str]:
    if request.param == "ours":
        with serve(probe, port=0) as server:
            yield server.url
        return
    handler = functools.partial(Plain, directory=str(probe.parent))  # the site is below /NAME/ here, and no policy is sent
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{plain.server_port}/{probe.name}/"
        plain.shutdown()


@pytest.mark.first_visit
def test_pyodide_boots_from_the_site_alone(page: Page, address: str, request: pytest.FixtureRequest) -> None:
    asked: list[Request] = []
    page.context.on("request", lambda one: asked.append(one))
    page.goto(address + "probe/")
    answer = page.evaluate("window.answer")
    assert answer["small"][0] == [3, 14]
    assert answer["small"][1:] == [False, True, True]
    assert answer["total"] == 10
    assert answer["refused"] == ("plain" not in request.node.name)  # eval is refused where the policy is sent
    assert any(one.url.endswith("wasm32.whl") for one in asked)  # that is, the worker's requests are seen here too
    assert {urlsplit(one.url).netloc for one in asked if not one.url.startswith("data:")} == {urlsplit(address).netloc}


def test_the_page_carries_the_policy_of_the_server(site: Path) -> None:
    from py_rwkv.site.serve import CSP

    for name in ("index.html", "embed.html"):
        assert f'content="{CSP}"' in " ".join((site / name).read_text("utf-8").split()), name
