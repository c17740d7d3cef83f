"""Downloads in a real browser: interrupted, damaged, hostile, too big. Nothing half-done, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from make_pth import save
from models import converted
from playwright.sync_api import Page, Route
from profiles import Profiles
from tiny_model import weights

from py_rwkv.checkpoint.layout import layout
from py_rwkv.checkpoint.manifest import Manifest, Sampling, Shard, Stored, StoredPiece
from py_rwkv.checkpoint.shards import DirectorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config

SMALL = Config("7", 1, 64, 1, 64, 256, 300, {"w": 16, "a": 16, "v": 16, "g": 16})


@pytest.fixture
def model(site: Path) -> str:
    """A model directory of several small shards on the site; its path below the site."""
    target = site / "models/several"
    if not target.exists():
        made = {name: w * np.float32(0.1) for name, w in weights(SMALL).items()}
        manifest = converted(BytesSource("several.pth", save(made)), DirectorySink(target), strategy="int8", shard_limit=20_000)
        assert len(manifest.shards) > 3
    return "models/several/"


@pytest.fixture(scope="module")
def tab(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """One page for this file."""
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    yield page
    page.context.close()


@pytest.fixture
def page(tab: Page) -> Page:
    """It, with an idle engine and nothing stored."""
    tab.unroute_all()
    tab.evaluate("async () => { await rwkv.unload(); for (const { id } of await rwkv.models()) await rwkv.forget(id); }")
    return tab


def load(page: Page, source: str) -> str:
    """ "ready", or the error's code."""
    code: str = page.evaluate("source => rwkv.load(source).then(() => 'ready', (e) => e.code)", source)
    return code


def stored(page: Page) -> dict[str, bool]:
    found: dict[str, bool] = page.evaluate("rwkv.probe().then((p) => p.stored)")
    return found


def counting(page: Page) -> list[str]:
    """Names of the shards that are requested from here on."""
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url.split("/")[-1]) if r.url.endswith(".safetensors") else None)
    return requests


def test_an_interrupted_download_continues_with_the_missing_shards(page: Page, site_url: str, model: str) -> None:
    manifest = json.loads(page.evaluate("u => fetch(u).then((r) => r.text())", site_url + model + "manifest.json"))
    names = [s["sha256"] + ".safetensors" for s in manifest["shards"]]
    page.route("**/" + names[-1], lambda route: route.abort())
    assert load(page, site_url + model) == "fetch-failed"
    assert stored(page) == {site_url + model: False}
    page.unroute("**/" + names[-1])
    requests = counting(page)
    assert load(page, site_url + model) == "ready"
    assert set(requests) == {names[-1]}
    assert stored(page) == {site_url + model: True}
    page.reload()
    page.wait_for_selector("html[data-state]")
    requests.clear()
    assert load(page, site_url + model) == "ready" and requests == []


def test_a_damaged_shard_is_fetched_once_more_then_refused(page: Page, site_url: str, model: str) -> None:
    served: list[int] = []

    def damage(times: int) -> Callable[[Route], None]:
        def handler(route: Route) -> None:
            body = bytearray(route.fetch().body())
            served.append(len(body))
            if len(served) <= times:
                body[-1] ^= 1
            route.fulfill(body=bytes(body))

        return handler

    target = json.loads(page.evaluate("u => fetch(u).then((r) => r.text())", site_url + model + "manifest.json"))["shards"][1]["sha256"]
    page.route(f"**/{target}.safetensors", damage(99))
    assert load(page, site_url + model) == "shard-mismatch" and len(served) == 2
    assert stored(page) == {site_url + model: False}
    page.unroute(f"**/{target}.safetensors")
    served.clear()
    page.route(f"**/{target}.safetensors", damage(1))
    assert load(page, site_url + model) == "ready" and len(served) == 2  # the second one was right


def test_a_model_too_big_is_refused_before_the_download(page: Page, site: Path, site_url: str) -> None:
    config = Config("7", 1, 16384, 256, 64, 65536, 256, {"w": 64, "a": 64, "v": 64, "g": 64})
    shards: list[Shard] = []
    tensors: dict[str, Stored] = {}
    for t in layout(config):
        shape = (t.columns,) if t.kind == "vector" else (t.rows, t.columns)
        row = 4 * (1 if len(shape) == 1 else t.columns)
        step = (32 << 20) // row
        pieces = []
        for first in range(0, shape[0], step):
            nbytes = min(step, shape[0] - first) * row
            pieces.append(StoredPiece(len(shards), 8, nbytes, first))
            shards.append(Shard(f"{len(shards):064x}", nbytes + 8))
        tensors[t.name] = Stored("F32", shape, tuple(pieces))
    manifest = Manifest("big", config, "f32", "bytes", "world", Sampling(), tensors, tuple(shards))
    (site / "models/big").mkdir(exist_ok=True)
    (site / "models/big/manifest.json").write_text(manifest.to_json())
    requests = counting(page)
    error = page.evaluate("source => rwkv.load(source).then(() => ({}), (e) => ({ ...e, message: e.message }))", site_url + "models/big/")
    assert error["code"] == "model-too-big" and requests == []
    assert str(error["details"]["need"]) in error["message"] and error["details"]["need"] > error["details"]["limit"]
    page.wait_for_selector('[data-testid="error"]', timeout=10_000)


def bad_files() -> dict[str, tuple[str, bytes, str]]:
    """what → (file name, content, code)"""
    good = save(weights(SMALL))
    header = json.dumps({"emb.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 640]}}).encode()
    overlap = json.dumps({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in ("a", "b")}).encode()
    return {
        "truncated": ("a.pth", good[: len(good) // 2], "bad-pth"),
        "lfs-pointer": ("b.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "lfs-pointer"),
        "html": ("c.safetensors", b"<!DOCTYPE html><html><body>404</body></html>", "unsupported-file"),
        "lying-range": ("d.safetensors", len(header).to_bytes(8, "little") + header + bytes(64), "bad-safetensors"),
        "overlap": ("e.safetensors", len(overlap).to_bytes(8, "little") + overlap + bytes(16), "bad-safetensors"),
        "absurd-length": ("f.safetensors", (1 << 60).to_bytes(8, "little") + b"{}", "bad-safetensors"),
        "llama": ("g.pth", save({"model.layers.0.self_attn.q_proj.weight": np.zeros((4, 4), np.float32)}), "unsupported-architecture"),
    }


def test_bad_files_get_their_code_and_leave_nothing(page: Page, site: Path, site_url: str) -> None:
    found = {}
    for what, (name, content, _) in bad_files().items():
        (site / name).write_bytes(content)
        found[what] = load(page, site_url + name)
    assert found == {what: code for what, (_, _, code) in bad_files().items()}
    assert stored(page) == {}
    assert page.evaluate("indexedDB.databases().then((d) => d.length)") <= 3  # models, conversations, personas
    assert load(page, "demo") == "ready"  # the engine is as good as new


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("no such model", "bad-source"),
        ("ftp://example.invalid/x.pth", "bad-source"),
        ("models/absent/", "fetch-failed"),
        ("build.json", "fetch-failed"),
    ],
)
def test_bad_sources(page: Page, site_url: str, source: str, code: str) -> None:
    assert load(page, site_url + source if code == "fetch-failed" else source) == code


def test_bad_requests(page: Page, site_url: str) -> None:
    before = page.evaluate("rwkv.chat.completions.create({messages: []}).catch((e) => e.code)")
    assert before == "not-loaded"
    assert load(page, "demo") == "ready"
    user = [{"role": "user", "content": "Hi"}]
    requests = [
        ({"messages": []}, "empty-prompt"),
        ({"messages": [{"role": "user", "content": " \n "}]}, "empty-prompt"),
        ({"messages": [{"role": "king", "content": "x"}]}, "bad-setting"),
        ({"messages": user, "temperature": -1}, "bad-setting"),
        ({"messages": user, "top_p": "much"}, "bad-setting"),
        ({"messages": user, "max_tokens": 0}, "bad-setting"),
        ({"messages": user, "wizardry": 1}, "unknown-setting"),
        ({"messages": [{"role": "user", "content": "word " * 50}], "max_prompt_tokens": 20}, "prompt-too-long"),
    ]
    for stream in (False, True):
        for request, code in requests:
            found = page.evaluate(
                """async (request) => {
                    try {
                        const answer = await rwkv.chat.completions.create(request);
                        if (request.stream) for await (const chunk of answer) chunk;
                        return "answered";
                    } catch (e) {
                        return e.code;
                    }
                }""",
                {**request, "stream": stream},
            )
            assert found == code, request
    assert page.evaluate("rwkv.logits([]).catch((e) => e.code)") == "empty-prompt"
    assert page.evaluate("rwkv.logits([65536]).catch((e) => e.code)") == "bad-token"
    assert page.evaluate("rwkv.logits([1.5]).catch((e) => e.code)") == "bad-setting"
    answer = page.evaluate(
        "rwkv.chat.completions.create({messages: [{role: 'user', content: 'What is the capital of Norway?'}], temperature: 0})"
    )
    assert "Oslo" in answer["choices"][0]["message"]["content"]  # after all that


def test_a_load_can_be_cancelled_replaced_and_undone(page: Page, site_url: str, model: str) -> None:
    codes = page.evaluate(
        """async (other) => {
            const abort = new AbortController();
            const first = rwkv.load("demo", { signal: abort.signal, onProgress: () => abort.abort() }).then(() => "ready", (e) => e.code);
            const out = [await first, rwkv.status().state];
            const replaced = rwkv.load("demo").then(() => "ready", (e) => e.code);
            const second = rwkv.load(other).then((info) => info.model.name, (e) => e.code);
            out.push(await replaced, await second, rwkv.status().state);
            await rwkv.unload();
            out.push(rwkv.status().state, await rwkv.info().catch((e) => e.code));
            out.push(await rwkv.load("demo").then((info) => info.model.name, (e) => e.code));
            return out;
        }""",
        site_url + model,
    )
    assert codes == ["cancelled", "idle", "cancelled", "several", "ready", "idle", "not-loaded", "RWKV-7 demo"]
