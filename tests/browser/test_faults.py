"""What can go wrong with a model that runs, provoked: each is put right by itself where that is possible, and said with a way on where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from asking import ask
from playwright.sync_api import BrowserContext, Error, Page, Route, expect
from profiles import Profiles

QUESTION = "What is the capital of Norway?"
RUN = """(question) => {
    window.told = "";
    window.story = (async () => {
        const request = { messages: [{ role: "user", content: question }], temperature: 0, presence_penalty: 0, frequency_penalty: 0, max_tokens: 60 };
        for await (const chunk of await rwkv.chat.completions.create({ ...request, stream: true }))
            window.told += chunk.choices[0].delta.content ?? "";
        return window.told;
    })();
    window.story.catch(() => {});
}"""
FORK = """async () => {
    const told = [{ role: "user", content: "My name is Tavo." }, { role: "assistant", content: "Nice to meet you, Tavo!" }];
    window.state = await rwkv.states.fork({ messages: told });
}"""
NAME = """async () => {
    const request = { messages: [{ role: "user", content: "What is my name?" }], state, temperature: 0, max_tokens: 12 };
    return (await rwkv.chat.completions.create(request)).choices[0].message.content;
}"""
SOME = "async () => { while (window.told.length < 8) await new Promise((go) => setTimeout(go, 10)); return window.told; }"
STATES = """() => {
    window.states = [];
    for (const name of ["state", "recovering", "recovered", "error"])
        rwkv.addEventListener(name, ({ detail }) => window.states.push(name === "state" ? detail.state : `${name} ${detail?.code}`));
}"""
# Before the worker's own code: what a broken driver, a full memory or a crash does, on request.
PRELUDE = """
const devices = [];
const lost = new WeakSet();
const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  const device = await request.call(this, descriptor);
  devices.push(device);
  Object.defineProperty(device, "lost", { value: device.lost.then((info) => (lost.has(device) ? { reason: "unknown", message: "provoked" } : info)) });
  return device;
};
const lose = () => { for (const device of devices.splice(0)) { lost.add(device); device.destroy(); } };
let late = false;
let again = false;
addEventListener("message", ({ data: { op } }) => {
  if (op === "load" && late) postMessage({ id: 0, event: "error", value: { code: "device-lost", message: "told late", hint: "", details: {} } });
  if (op === "states.fork" && again) lose();
  if (op === "load") late = false;
  if (op === "states.fork") again = false;
});
new BroadcastChannel("provoke").onmessage = ({ data }) => {
  if (data === "lose" || data === "lose twice") { lose(); late = true; again = data === "lose twice"; }
  if (data === "end") close();
  if (data === "throw") setTimeout(() => { throw new Error("provoked"); });
  if (data === "tight") WebAssembly.Memory.prototype.grow = () => { throw new RangeError("provoked"); };
  if (data === "fatal") AbortSignal.prototype.throwIfAborted = () => { throw new WebAssembly.RuntimeError("unreachable"); };
  if (data === "full") GPUDevice.prototype.popErrorScope = async () => new GPUOutOfMemoryError("provoked");
  if (data === "wrong") {
    const create = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (d) {
      return create.call(this, { ...d, code: d.code.replaceAll("exp(", "exp2(") });
    };
  }
};
"""
BLOBS = """async () => {
    const db = await new Promise((resolve) => (indexedDB.open("py-rwkv").onsuccess = ({ target }) => resolve(target.result)));
    const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const shards = (mode) => db.transaction("shards", mode).objectStore("shards");
    const [key] = await done(shards("readonly").getAllKeys());
    const bytes = new Uint8Array(await (await done(shards("readonly").get(key))).arrayBuffer());
    if (CHANGE) {
        bytes[bytes.length >> 1] ^= 1;
        await done(shards("readwrite").put(new Blob([bytes]), key));
    }
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    db.close();
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === key;
}"""


def breakable(route: Route) -> None:
    route.fulfill(body=PRELUDE + route.fetch().text(), content_type="text/javascript")


@pytest.fixture(scope="module")
def context(profiles: Profiles, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    """One browser profile for this file: its first test stores the model."""
    context = profiles.new(**browser_context_args)
    context.set_default_timeout(120_000)
    context.route("**/engine/worker.js", breakable)
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(context: BrowserContext, site_url: str) -> Page:
    page = context.new_page()
    page.goto(site_url)
    page.get_by_test_id("start").click()
    ready(page)
    page.evaluate(STATES)
    return page


@pytest.fixture(scope="module")
def story(page: Page) -> str:
    """An answer that nothing disturbed."""
    page.evaluate(RUN, "Tell me a story about a fox.")
    return str(page.evaluate("story"))


def ready(page: Page) -> None:
    page.wait_for_selector("html[data-state=ready]")


def provoke(page: Page, what: str) -> None:
    page.evaluate("what => new BroadcastChannel('provoke').postMessage(what)", what)


@pytest.mark.parametrize(("what", "code"), [("lose", "device-lost"), ("throw", "worker-crashed")])
def test_an_answer_goes_on_where_it_was(page: Page, story: str, what: str, code: str) -> None:
    page.evaluate("states.length = 0")
    page.evaluate(RUN, "Tell me a story about a fox.")
    begun = page.evaluate(SOME)
    provoke(page, what)
    expect(page.get_by_test_id("notice-recovering")).to_be_visible()
    assert page.locator("html").get_attribute("data-screen") == "chat"  # the conversation stays where it is
    assert page.evaluate("story") == story and story.startswith(begun) and len(begun) < len(story)
    ready(page)
    assert page.evaluate("states") == ["busy", "recovering", f"recovering {code}", "busy", f"recovered {code}", "ready"]
    expect(page.get_by_test_id("notice-recovering")).to_have_count(0)


def test_what_is_lost_again_and_again_is_an_error_with_a_way_on(page: Page, story: str) -> None:
    page.evaluate(FORK)
    provoke(page, "lose twice")  # the third loss, and one more while what conversations begin at is made again
    expect(page.get_by_test_id("notice-recovering")).to_be_visible()
    expect(page.get_by_test_id("notice-recovering")).to_have_count(0, timeout=120_000)
    ready(page)
    assert "Tavo" in page.evaluate(NAME)  # a state that a request begins at is there again
    provoke(page, "lose")  # the fourth
    expect(page.get_by_test_id("error")).to_be_visible()
    assert page.locator("#error-title").get_attribute("data-code") == "device-lost"
    expect(page.get_by_test_id("choose-cpu")).to_be_visible()
    page.get_by_test_id("retry").click()
    ready(page)
    assert "Oslo" in ask(page, QUESTION)


def test_a_gpu_without_room_is_told_with_what_to_do(page: Page, site_url: str) -> None:
    provoke(page, "full")
    code = page.evaluate("rwkv.unload().then(() => rwkv.load('demo')).then(() => 'ready', (e) => e.code)")
    assert code == "out-of-memory"
    expect(page.get_by_test_id("choose-cpu")).to_be_visible()
    page.get_by_test_id("choose-cpu").click()
    ready(page)
    assert page.evaluate("rwkv.status().device.kind") == "numpy"


def test_python_without_room_is_told_with_what_to_do(page: Page) -> None:
    page.evaluate("rwkv.load('demo', { device: 'numpy' }).then(() => 0)")
    provoke(page, "tight")
    code = page.evaluate("rwkv.load('demo', { device: 'numpy', slots: 400 }).then(() => 'ready', (e) => e.code)")
    assert code == "no-memory"
    expect(page.get_by_test_id("error")).to_contain_text("choose a smaller model")


def test_a_python_that_ends_while_a_model_loads_is_not_asked_again(page: Page) -> None:
    provoke(page, "fatal")
    code = page.evaluate("rwkv.load('demo').then(() => 'ready', (e) => e.code)")
    assert code == "worker-crashed"
    page.get_by_test_id("retry").click()
    ready(page)
    page.reload()
    ready(page)
    page.evaluate(STATES)


def test_a_damaged_file_is_noticed_and_fetched_again(page: Page) -> None:
    assert page.evaluate(BLOBS.replace("CHANGE", "true")) is False
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url) if request.url.endswith(".safetensors") else None)
    page.reload()
    ready(page)
    assert len(asked) == 1 and page.evaluate(BLOBS.replace("CHANGE", "false"))
    assert "Oslo" in ask(page, QUESTION)
    page.reload()
    ready(page)
    assert len(asked) == 1


def test_without_a_connection_the_page_says_so(page: Page, site_url: str) -> None:
    page.context.set_offline(True)
    expect(page.get_by_test_id("notice-offline")).to_be_visible()
    assert "Oslo" in ask(page, QUESTION)  # what is here goes on
    page.evaluate("u => rwkv.load(u).catch(() => 0)", site_url + "models/elsewhere/")
    expect(page.locator("#error-hint")).to_contain_text("no connection")
    page.context.set_offline(False)
    expect(page.get_by_test_id("notice-offline")).to_have_count(0)


def test_a_page_that_the_browser_ended_while_loading_is_remembered(page: Page, context: BrowserContext, site_url: str) -> None:
    page.reload()
    page.wait_for_selector("html[data-state=loading]")
    with suppress(Error):
        page.goto("chrome://crash")
    after = context.new_page()
    after.goto(site_url)
    expect(after.get_by_test_id("notice-ended")).to_contain_text("RWKV-7")
    assert after.evaluate("rwkv.status().state") == "idle"  # it does not walk into the same trap by itself
    after.get_by_test_id("choose-again").click()
    ready(after)
    expect(after.get_by_test_id("notice-ended")).to_have_count(0)
    after.reload()
    ready(after)  # and by itself again
    after.close()


def test_a_driver_that_computes_wrongly_is_refused(profiles: Profiles, browser_context_args: dict[str, Any], site_url: str) -> None:
    context = profiles.new(**browser_context_args)
    context.set_default_timeout(120_000)
    context.route("**/engine/worker.js", breakable)
    page = context.new_page()
    page.goto(site_url)
    page.get_by_test_id("start").wait_for()
    provoke(page, "wrong")
    page.get_by_test_id("start").click()
    expect(page.get_by_test_id("error")).to_be_visible(timeout=120_000)
    assert page.locator("#error-title").get_attribute("data-code") == "wrong-numerics"
    page.get_by_test_id("choose-cpu").click()
    ready(page)
    assert page.evaluate("rwkv.status().device.kind") == "numpy" and "Oslo" in ask(page, QUESTION)
    context.close()
