"""Browser profiles of somebody who has been here before. Half of what the first load of a model costs a processor is Python's start, which later visits have kept
(web/engine/boot.js): the first profile of a test run makes that, and the others get a copy. No model and nothing else is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext

# Both run in a page of the site that has nothing in it. The file: length of the JSON, the JSON, the memory, the files.
KEEP = """async (name) => {
    const [{ Engine }, { Store }] = await Promise.all([import("./engine/client.js"), import("./engine/store.js")]);
    const engine = await Engine.create();
    await engine.load("demo");
    const store = await Store.open();
    let kept;
    while (!(kept = await store.kept("python"))) await new Promise((go) => setTimeout(go, 50));
    engine.close();
    const { memory, files, ...rest } = kept;
    const about = new TextEncoder().encode(JSON.stringify({ ...rest, memory: memory.size, files: files.map(([path, { length }]) => [path, length]) }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([new Uint32Array([about.length]), about, memory, ...files.map(([_, content]) => content)]));
    link.download = name;
    link.click();
}"""
COPY = """async (name) => {
    const { Store } = await import("./engine/store.js");
    const [store, file] = await Promise.all([Store.open(), fetch(name).then((response) => response.blob())]);
    let at = 0;
    const next = (length) => file.slice(at, (at += length));
    const [length] = new Uint32Array(await next(4).arrayBuffer());
    const { memory, files, ...rest } = JSON.parse(await next(length).text());
    const value = { ...rest, memory: next(memory), files: [] };
    for (const [path, length] of files) value.files.push([path, new Uint8Array(await next(length).arrayBuffer())]);
    await store.hold("python", value);
    store.db.close();
}"""


class Profiles:
    """`file`: where the copy lies in the site's folder, which is served at `url`."""

    def __init__(self, browser: Browser, url: str, file: Path) -> None:
        self.browser, self.url, self.file = browser, url, file

    def new(self, **options: Any) -> BrowserContext:
        """Like `browser.new_context`, without service workers unless told otherwise."""
        if not self.file.exists():
            self._keep()
        context = self.browser.new_context(**{"service_workers": "block"} | options)
        page = context.new_page()
        page.goto(self.url + "build.json")
        page.evaluate(COPY, "./" + self.file.name)
        page.close()
        return context

    def _keep(self) -> None:
        context = self.browser.new_context(service_workers="block", accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(self.url + "build.json")
        with page.expect_download() as download:
            page.evaluate(KEEP, self.file.name)
        download.value.save_as(self.file)
        context.close()
