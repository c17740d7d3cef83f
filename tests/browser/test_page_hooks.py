"""A person's own Python in the worker: the examples of docs/hooks.md on one loaded page, broken scripts, and who may run any."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route
from profiles import Profiles

DOC = Path(__file__).parents[2] / "docs/hooks.md"
SECTION = DOC.read_text("utf-8").split("## Your own Python in the page")[1].split("\n## ")[0]
BANNED, WATERMARK, PLOT = re.findall(r"^```py\n(.*?)^```$", SECTION, flags=re.M | re.S)
LOAD_JS, PLOT_JS = re.findall(r"^```js\n(.*?)^```$", SECTION, flags=re.M | re.S)
QUESTION = "What is the capital of Norway?"
CALL = """async ([name, ...args]) => {
    try {
        return { value: await name.split(".").reduce((object, key) => object[key].bind?.(object) ?? object[key], engine)(...args) };
    } catch (e) {
        return { error: e.code, message: e.message };
    }
}"""


def call(page: Page, name: str, *args: Any) -> Any:
    found = page.evaluate(CALL, [name, *args])
    assert "error" not in found, found
    return found.get("value")


def refused(page: Page, name: str, *args: Any) -> tuple[str, str]:
    """(code, message) of the error."""
    found = page.evaluate(CALL, [name, *args])
    return found["error"], found["message"]


def answer(page: Page, question: str = QUESTION, **settings: Any) -> str:
    request = {"messages": [{"role": "user", "content": question}], "temperature": 0, "seed": 1, **settings}
    text: str = call(page, "chat.completions.create", request)["choices"][0]["message"]["content"]
    return text


@pytest.fixture(scope="module")
def page(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """The demo with the script of the state plot, loaded as docs/hooks.md says, after one that is broken; `engine` is the engine."""

    def serve(route: Route) -> None:
        found = {"/state_plot.py": PLOT, "/broken.py": "import math\n\nmath.no_such_thing"}.get("/" + route.request.url.split("/")[-1])
        route.fulfill(status=200 if found else 404, body=found or "", headers={"Access-Control-Allow-Origin": "*"})

    context = profiles.new()
    context.route(re.compile(r".*\.py$"), serve)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url + "build.json")
    page.evaluate("async () => void (window.Engine = (await import('./engine/client.js')).Engine)")
    page.evaluate("async () => void (window.engine = await Engine.create({ python: true }))")
    code, message = refused(page, "load", "demo", {"python": {"url": "https://scripts.example/broken.py"}})
    assert code == "script-failed" and 'File "broken.py", line 3' in message and "no attribute 'no_such_thing'" in message
    page.evaluate(f"async () => {{ engine.close(); {LOAD_JS.replace('const engine', 'window.engine')} }}")
    yield page
    context.close()


def test_a_plot_of_the_state(page: Page) -> None:
    page.evaluate("document.body.append(Object.assign(document.createElement('canvas'), { width: 200, height: 100 }))")
    page.evaluate(f"async () => {{ {PLOT_JS} window.rows = rows; }}")
    rows, model = page.evaluate("rows"), call(page, "info")["model"]
    tokens = call(page, "tokenize", "One two three four five")
    assert [len(row) for row in rows] == [model["layers"]] * len(tokens) and all(norm > 0 for row in rows for norm in row)
    assert page.evaluate("new Set(document.querySelector('canvas').getContext('2d').getImageData(0, 0, 200, 100).data).size") > 10
    heard = call(page, "python.call", "last_heard", model["layers"])
    assert [token for _, token, _ in heard] == tokens[-1:] * model["layers"] and heard[-1][0] == f"layer.{model['layers'] - 1}.output"


def test_banned_words(page: Page) -> None:
    assert "Oslo" in answer(page)
    assert call(page, "python.run", {"text": BANNED, "name": "banned.py"})["processors"] == ["no_banned_words"]
    assert "oslo" not in answer(page).lower()
    assert "Oslo" in answer(page, processors=[])
    code, message = refused(page, "chat.completions.create", {"prompt": "a", "processors": ["missing"]})
    assert code == "unknown-script-name" and "no_banned_words" in message


def test_a_watermark_is_found(page: Page) -> None:
    call(page, "python.run", {"text": WATERMARK.replace("4.0  #", "12.0  #")})
    marked = answer(page, "Tell me a story about a fox.", processors=["watermark"], max_tokens=40, temperature=1.5, top_p=1)
    z = [call(page, "python.call", "watermarked", text)["z"] for text in (SECTION[:300], marked)]
    assert z[0] < 3 and z[1] > 4, (z, marked)


def test_a_sampler_and_a_function_that_fails(page: Page) -> None:
    text = "@rwkv.sampler\ndef second(scores, text):\n    best = sorted(scores, key=scores.get, reverse=True)\n    return best[len(text.tokens) == 0]"
    assert call(page, "python.run", {"text": text})["samplers"] == ["second"]
    assert answer(page, processors=[]) != answer(page, processors=[], sampler="default")
    failing = "@rwkv.sampler\ndef failing(scores, text):\n    return {}[len(text.tokens)] if text.tokens else max(scores, key=scores.get)"
    call(page, "python.run", {"text": failing, "name": "failing.py"})
    request = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    code, message = refused(page, "chat.completions.create", request)
    assert code == "script-failed" and 'sampler failing failed:   File "failing.py", line 3' in message and message.endswith("KeyError: 1")
    assert "Oslo" in answer(page, processors=[], sampler="default")


def test_a_broken_script_changes_nothing(page: Page) -> None:
    before = call(page, "python.run", {"text": ""})
    for text, words in (
        ("def (", "SyntaxError"),
        ("rwkv.processor(print)\nimport nowhere", "No module named 'nowhere'"),
        ("exit(1)", "SystemExit"),
    ):
        code, message = refused(page, "python.run", {"text": text, "name": "mine.py"})
        assert code == "script-failed" and words in message and "mine.py" in message
    code, _ = refused(page, "python.run", {"text": "from py_rwkv.hooks import Callback\nrwkv.hook(Callback('head', print))"})
    assert code == "hook-too-late"
    call(page, "python.run", {"text": "@rwkv.function\ndef odd(argument): return {1, 2}"})
    assert refused(page, "python.call", "odd")[0] == "bad-hook-value" and refused(page, "python.call", "even")[0] == "unknown-script-name"
    after = call(page, "python.run", {"text": ""})
    assert after == before | {"functions": [*before["functions"], "odd"]}
    assert "Oslo" in answer(page, processors=[], sampler="default")


def test_where_a_script_comes_from(page: Page) -> None:
    digest = base64.b64encode(hashlib.sha384(PLOT.encode()).digest()).decode()
    address = "https://scripts.example/state_plot.py"
    wrong = {"url": address, "integrity": "sha384-" + digest[::-1]}
    code, message = refused(page, "python.run", wrong)
    assert code == "script-unavailable" and f"hashes to sha384-{digest}" in message
    assert refused(page, "python.run", {"url": address, "integrity": "sha384-" + digest})[0] == "hook-too-late"  # it ran
    code, message = refused(page, "python.run", {"url": "https://scripts.example/missing.py"})
    assert code == "script-unavailable" and "HTTP 404" in message
    for script in ({}, {"url": address, "text": "1"}, {"text": "1", "integrity": "md5-x"}):
        assert refused(page, "python.run", script)[0] == "bad-setting"


def test_an_engine_runs_no_script_unless_it_was_made_for_it(page: Page) -> None:
    codes = page.evaluate(
        """async () => {
            const { Core } = await import("./engine/core.js");
            const code = (promise) => promise.then(() => "none", (e) => e.code);
            const engine = await Engine.create();
            const core = new Core(() => {}); // what the page's own check is not part of
            const script = { text: "1" };
            const found = [
                await code(engine.load("demo", { python: script })), await code(engine.python.run(script)),
                await code(core.call("python.run", script)), await code(core.load({ source: "demo", device: "webgpu", python: script }, {})),
            ];
            engine.close();
            core.close();
            return found;
        }"""
    )
    assert codes == ["script-not-allowed"] * 4
