"""Any file in the page: by drop, picker and address, in one piece or many; converted there, on the GPU, to exactly what is converted here."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dialect_files as files
import numpy as np
import pytest
from make_pth import bf16, save
from models import engine_of, finished, logits_of, packed
from playwright.sync_api import Page, Request, Route
from profiles import Profiles
from tiny_model import weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.models.config import Config

CONFIG = Config("7", 1, 128, 2, 64, 256, 300, {"w": 16, "a": 16, "v": 16, "g": 40})
TOKENS = [1, 7, 299, 0, 42]
SET_UP = """() => {
    window.filesOf = (table) => Object.entries(table).map(([name, text]) =>
        new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { lastModified: 5 }));
    window.opened = async (source, options = {}) => {
        const phases = new Set();
        try {
            const info = await rwkv.load(source, { ...options, onProgress: (p) => phases.add(p.phase) });
            return { code: "ready", name: info.model.name, quantization: info.model.quantization, phases: [...phases] };
        } catch (e) {
            return { code: e.code, details: e.details, message: e.message };
        }
    };
    window.database = () => new Promise((resolve) => {
        const request = indexedDB.open("py-rwkv");
        request.onsuccess = () => {
            const work = request.result.transaction(["models", "shards"]), found = {};
            work.objectStore("models").getAll().onsuccess = (e) => (found.models = e.target.result);
            work.objectStore("shards").getAllKeys().onsuccess = (e) => (found.shards = e.target.result);
            work.oncomplete = () => { request.result.close(); resolve(found); };
        };
    });
}"""

# What the page asks last before it loads by itself what is stored, which loads have ended, is answered after somebody else has called load(), once.
ASKED_FOR_AT_THE_LAST_MOMENT = """{
    const query = navigator.locks.query.bind(navigator.locks);
    navigator.locks.query = async () => {
        if (!sessionStorage.asked && new Error().stack.includes("Faults.ended")) {
            sessionStorage.asked = document.documentElement.dataset.asked = "yes";
            while (rwkv.status().state === "idle") await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return query();
    };
}"""


def tame(w: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x * np.float32(0.2 if x.ndim == 2 else 0.5) for name, x in w.items()}


MADE = tame(weights(CONFIG, seed=3))
MADE["blocks.0.ffn.key.weight"] = MADE["blocks.0.ffn.key.weight"][np.arange(256) % 50]  # rows that are stored once


def folder(w: dict[str, np.ndarray], missing: int | None = None) -> dict[str, bytes]:
    """A Hugging Face folder of three shards, under flash-linear-attention's names."""
    arrays = files.fla(w)
    out: dict[str, bytes] = {"config.json": json.dumps({"head_dim": 64}).encode(), "README.md": b"# A model"}
    where = {}
    for i in range(3):
        name = f"model-{i + 1:05}-of-00003.safetensors"
        some = {n: arrays[n] for n in list(arrays)[i::3]}
        where |= dict.fromkeys(some, name)
        if i != missing:
            out[name] = files.safetensors(some)
    return out | {"model.safetensors.index.json": json.dumps({"weight_map": where}).encode()}


@pytest.fixture(scope="module")
def page(profiles: Profiles, site_url: str) -> Iterator[Page]:
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    page.evaluate(SET_UP)
    yield page
    page.context.close()


@pytest.fixture
def fresh(page: Page) -> Page:
    """The page with its engine idle and nothing stored."""
    page.evaluate("async () => { await rwkv.unload(); for (const { id } of await rwkv.models()) await rwkv.forget(id); }")
    return page


def load_files(page: Page, table: dict[str, bytes], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        "([table, options]) => { const all = filesOf(table); return opened(all.length === 1 ? all[0] : all, options); }",
        [{name: base64.b64encode(data).decode() for name, data in table.items()}, options],
    )
    return found


def shards(page: Page) -> list[list[str]]:
    """The shards of every stored model, the latest last; all stored shards belong to one."""
    found = page.evaluate("database()")
    assert all(m["complete"] for m in found["models"])
    assert {s for m in found["models"] for s in m["shards"]} == set(found["shards"])
    return [m["shards"] for m in sorted(found["models"], key=lambda m: m["added"])]


def logits(page: Page) -> np.ndarray:
    return np.array(page.evaluate("tokens => rwkv.logits(tokens).then((l) => Array.from(l))", TOKENS), np.float32)


async def native(w: dict[str, np.ndarray], strategy: str) -> np.ndarray:
    return await logits_of(await engine_of(w, NumpyDevice(), strategy), TOKENS)


def hashes(w: dict[str, np.ndarray], strategy: str) -> list[str]:
    return [s.sha256 for s in packed(w, strategy)[0].shards]


@pytest.fixture
def requests(page: Page) -> Iterator[list[Request]]:
    """Requests for weights."""
    seen: list[Request] = []
    note = lambda r: seen.append(r) if r.url.split("?")[0].endswith((".pth", ".safetensors")) else None  # noqa: E731
    page.on("request", note)
    yield seen
    page.remove_listener("request", note)


def test_the_same_model_from_every_kind_of_file(fresh: Page, site: Path, site_url: str, requests: list[Request]) -> None:
    expected = hashes(MADE, "int8")
    gguf = files.gguf(files.gguf_tensors(MADE, "7"), "rwkv7", rwkv7__wkv__head_size=64)
    for table, name in (
        ({"mine.pth": save(MADE)}, "mine"),
        ({"mine.st": files.safetensors(files.web_rwkv(MADE))}, "mine"),
        ({"mine.gguf": gguf}, "mine"),
        (folder(MADE), "A folder"),
    ):
        found = load_files(fresh, table, name="A folder" if len(table) > 1 else "")
        assert found["code"] == "ready" and found["name"] == name and "convert" in found["phases"], found
        assert shards(fresh)[-1] == expected, list(table)
    dropped = logits(fresh)
    assert np.abs(dropped - finished(native(MADE, "int8"))).max() < 1e-3

    (site / "hf/repo").mkdir(parents=True, exist_ok=True)
    for file, data in {**folder(MADE), "mine.pth": save(MADE)}.items():
        (site / "hf/repo" / file).write_bytes(data)
    requests.clear()
    for file, name in (("model.safetensors.index.json", "repo"), ("mine.pth", "mine")):
        found = fresh.evaluate("source => opened(source)", f"{site_url}hf/repo/{file}")
        assert found["code"] == "ready" and found["name"] == name, found
        assert shards(fresh)[-1] == expected
    assert len(requests) >= 8 and all(r.headers.get("range") for r in requests)

    def whole(route: Route) -> None:
        route.fulfill(body=save(MADE))

    fresh.route("**/mine.pth?no-ranges", whole)
    assert fresh.evaluate("source => opened(source)", f"{site_url}hf/repo/mine.pth?no-ranges")["code"] == "ready"
    assert shards(fresh)[-1] == expected and np.array_equal(logits(fresh), dropped)

    fresh.add_init_script(ASKED_FOR_AT_THE_LAST_MOMENT)
    fresh.reload()
    fresh.wait_for_selector("html[data-asked]")
    fresh.evaluate(SET_UP)
    requests.clear()
    for file in ("model.safetensors.index.json", "mine.pth"):
        found = fresh.evaluate("source => opened(source)", f"{site_url}hf/repo/{file}")
        assert found["code"] == "ready" and "convert" not in found["phases"]
    found = load_files(fresh, {"mine.pth": save(MADE)})
    assert found["code"] == "ready" and "convert" not in found["phases"]
    assert requests == []


@pytest.mark.parametrize(("strategy", "dtype"), [("nf4, emb=int8, head=f16", "f16"), ("int4", "bf16")])
def test_quantized_in_the_page_to_the_same_bytes(fresh: Page, strategy: str, dtype: str) -> None:
    w = MADE if dtype == "f32" else {n: x.astype("<f2") if dtype == "f16" else bf16(x) for n, x in MADE.items()}
    found = load_files(fresh, {"mine.pth": save(w)}, quantization=strategy)
    assert found["code"] == "ready" and found["quantization"] == strategy
    assert shards(fresh) == [hashes(w, strategy)]
    assert np.abs(logits(fresh) - finished(native(w, strategy))).max() < (1e-4 if strategy == "f32" else 1e-3)


def test_a_cancelled_conversion_goes_on_where_it_was(fresh: Page, site: Path, site_url: str, requests: list[Request]) -> None:
    """In the middle of a tensor, with shards stored already: they stay, the worker goes on, and what they hold is not fetched again."""
    config = Config("7", 1, 128, 2, 64, 256, 65000, CONFIG.ranks)  # the embedding just fits into the first shard
    strategy, big = "f32, head=nf4", tame(weights(config, dtype="<f2"))
    (site / "big.pth").write_bytes(save(big))
    codes = fresh.evaluate(
        """async (source) => {
            const abort = new AbortController();
            let last = 0;
            const onProgress = (p) => {
                if (p.phase !== "convert") return;
                last = p.done / p.total;
                if (last > 0.55) abort.abort();
            };
            const code = await rwkv.load(source, { signal: abort.signal, onProgress, quantization: "f32, head=nf4" }).then(() => "ready", (e) => e.code);
            return [code, rwkv.status().state, last, await database()];
        }""",
        f"{site_url}big.pth",
    )
    assert codes[:2] == ["cancelled", "idle"] and 0.55 < codes[2] < 1
    [row] = codes[3]["models"]
    assert not row["complete"] and 0 < len(codes[3]["shards"]) == len(row["shards"])
    found = load_files(fresh, {"mine.pth": save(MADE)}, quantization="f16")
    assert found["code"] == "ready"
    requests.clear()
    found = fresh.evaluate("([source, quantization]) => opened(source, { quantization })", [f"{site_url}big.pth", strategy])
    assert found["code"] == "ready" and sorted(shards(fresh)) == sorted([hashes(big, strategy), hashes(MADE, "f16")])
    spans = [re.fullmatch(r"bytes=(\d+)-(\d+)", r.headers["range"]) for r in requests]
    assert sum(int(m[2]) + 1 - int(m[1]) for m in spans if m) < 0.7 * (site / "big.pth").stat().st_size


def test_what_is_wrong_is_said_by_name_and_leaves_nothing(fresh: Page, site: Path, site_url: str) -> None:
    part = "model-00002-of-00003.safetensors"
    found = load_files(fresh, folder(MADE, missing=1))
    assert found["code"] == "missing-part" and found["details"]["name"] == part and part in found["message"]
    (site / "hf/part").mkdir(parents=True, exist_ok=True)
    for file, data in folder(MADE, missing=1).items():
        (site / "hf/part" / file).write_bytes(data)
    found = fresh.evaluate("source => opened(source)", f"{site_url}hf/part/model.safetensors.index.json")
    assert found["code"] == "missing-part" and found["details"]["name"] == part
    found = load_files(fresh, {"mine.pth": save(MADE)}, quantization="int9")
    assert found["code"] == "unknown-strategy" and "int9" in found["message"]
    assert load_files(fresh, {"a.txt": b"a", "b.txt": b"b"})["code"] == "not-a-model-folder"
    broken = MADE | {"head.weight": np.full_like(MADE["head.weight"], np.nan)}
    found = load_files(fresh, {"mine.pth": save(broken)})
    assert found["code"] == "bad-weights" and found["details"]["name"] == "head.weight"
    assert fresh.evaluate("database()") == {"models": [], "shards": []}


def test_a_server_that_fails_or_changes_its_mind(fresh: Page, site: Path, site_url: str) -> None:
    (site / "shaky.pth").write_bytes(save(MADE))
    asked: list[str] = []

    def shaky(route: Route) -> None:
        asked.append(route.request.headers.get("range", ""))
        if len(asked) in (2, 3):  # after the probe
            route.fulfill(status=503)
        elif changed and len(asked) > 1:
            route.fulfill(status=206, body=b"x", headers={"Content-Range": "bytes 0-0/1"})
        else:
            route.continue_()

    changed = False
    fresh.route("**/shaky.pth", shaky)
    assert fresh.evaluate("source => opened(source)", f"{site_url}shaky.pth")["code"] == "ready" and len(asked) > 3
    changed, asked[:] = True, []
    found = fresh.evaluate("source => opened(source, { quantization: 'f16' })", f"{site_url}shaky.pth")
    assert found["code"] == "fetch-failed" and "changed on the server" in found["details"]["reason"]


def test_picked_and_dropped_files_and_the_choice_of_weights(fresh: Page) -> None:
    table = [{"name": name, "mimeType": "", "buffer": data} for name, data in folder(MADE).items()]
    fresh.reload()  # a load that failed may be shown
    fresh.wait_for_selector("html[data-state]")
    fresh.evaluate(SET_UP)
    fresh.get_by_test_id("start").wait_for()
    fresh.click("#main [data-action=models]")
    fresh.set_input_files("[data-testid=model-file]", table)  # type: ignore[arg-type]
    fresh.check("[data-testid=quantization-nf4]")
    fresh.click("[data-testid=offer-start]")
    fresh.wait_for_selector("html[data-state=ready]")
    assert shards(fresh) == [hashes(MADE, "nf4")]
    fresh.evaluate(
        """(table) => {
            const transfer = new DataTransfer();
            for (const file of filesOf(table)) transfer.items.add(file);
            for (const type of ["dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        {"dropped.pth": base64.b64encode(save(MADE)).decode()},
    )
    fresh.check("[data-testid=quantization-nf4]")
    fresh.click("[data-testid=offer-start]")
    fresh.wait_for_selector("html[data-state=loading]")
    fresh.wait_for_selector("html[data-state=ready]")
    info = fresh.evaluate("rwkv.info()")
    assert (info["model"]["name"], info["model"]["quantization"]) == ("dropped", "nf4")
    assert shards(fresh)[0] == shards(fresh)[1]
