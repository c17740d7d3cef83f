"""Later visits begin at what the first one kept: Python's memory and the list of pipelines. Whatever is wrong with it costs time, never the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

TOKENS = [24281, 59, 4571, 261]
VISIT = """async (tokens) => {
    const { start } = await rwkv.load("demo");
    return { snapshot: start.snapshot, logits: Array.from(await rwkv.logits(tokens)).slice(0, 500) };
}"""
STUB = "export const loadPyodide = async (options) => { throw Object.assign(new Error(), options); };"
# Whether Python would begin at a snapshot that was kept under a key (`here`) by a build of another or the same, and whether that is thrown away at once.
BOOT = """async ([site, here, key]) => {
    const { boot } = await import("./engine/boot.js");
    const dropped = [];
    const kept = async () => ({ key: here, memory: new Blob(), sha256: "", files: [] });
    const store = { kept, drop: async (name) => void dropped.push(name) };
    const build = { key, pyodide: { path: "stub/" }, package: {}, start: [] };
    const tried = [];
    const warn = console.warn;
    console.warn = (_, e) => void tried.push("_loadSnapshot" in e);
    const first = await boot(new URL(site), Promise.resolve(build), Promise.resolve(store)).catch((e) => e);
    console.warn = warn;
    return [tried.includes(true), tried.length === 0 && dropped.length === 1 && first._makeSnapshot];
}"""
STORE = """async (change) => {
    const db = await new Promise((resolve, reject) => {
        const opening = indexedDB.open("py-rwkv");
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
    });
    const done = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    const rows = (mode) => db.transaction("start", mode).objectStore("start");
    try {
        let row, tries = 0;
        while (!(row = await done(rows("readonly").get("python"))) && tries++ < 200) await new Promise((go) => setTimeout(go, 50));
        if (change === "flip") row.memory = new Blob([row.memory.slice(0, 5e6), new Uint8Array(1000).fill(90), row.memory.slice(5e6 + 1000)]);
        if (change) await done(rows("readwrite").put(row, "python"));
        return { key: row.key, size: row.memory.size, names: await done(rows("readonly").getAllKeys()) };
    } finally {
        db.close();
    }
}"""


def visit(page: Page, url: str) -> dict[str, Any]:
    page.goto(url)
    page.wait_for_selector("html[data-state]")
    found: dict[str, Any] = page.evaluate(VISIT, TOKENS)
    return found


def kept(page: Page, change: str = "") -> dict[str, Any]:
    """What is kept once it is there, after `change`."""
    found: dict[str, Any] = page.evaluate(STORE, change)
    return found


@pytest.mark.first_visit
def test_a_second_visit_begins_at_the_snapshot_and_a_bad_one_is_replaced(page: Page, site: Path, site_url: str) -> None:
    first = visit(page, site_url)
    whole = kept(page)
    near = pytest.approx(first["logits"], abs=1e-3)  # a prompt that comes early may run through the other program
    assert not first["snapshot"] and "pipelines demo" in whole["names"]
    second = visit(page, site_url)
    assert second["snapshot"] and second["logits"] == near
    assert (
        page.evaluate("rwkv.load('demo', { device: 'numpy' }).then((info) => info.device.kind)") == "numpy"
    )  # extensions load into it too

    kept(page, "flip")
    third = visit(page, site_url)
    assert not third["snapshot"] and third["logits"] == near
    assert kept(page) == whole

    build = json.loads((site / "build.json").read_text("utf-8"))
    build["start"][0]["sha256"] = "0" * 64
    page.context.route("**/build.json", lambda route: route.fulfill(json=build))
    other = page.evaluate("async (site) => (await (await import('./engine/boot.js')).readBuild(new URL(site))).key", site_url)
    assert other != whole["key"]
    page.route("**/stub/pyodide.mjs", lambda route: route.fulfill(body=STUB, content_type="text/javascript"))
    assert page.evaluate(BOOT, [site_url, whole["key"], whole["key"]]) == [True, False]
    assert page.evaluate(BOOT, [site_url, whole["key"], other]) == [False, True]
