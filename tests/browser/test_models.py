"""Models as a person handles them: choose one, see what it takes, pause, come back, check, repair, take it along, delete it."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from make_pth import save
from models import converted, loaded
from playwright.sync_api import Page, Route, expect
from slow_server import Slow, slow_server
from tiny_model import weights

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.shards import MemorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config
from py_rwkv.resources import web_dir

CONFIG = Config("7", 1, 64, 1, 64, 256, 2000, {"w": 16, "a": 16, "v": 16, "g": 16})
CATALOGUE = json.loads((web_dir() / "models/catalogue.json").read_text("utf-8"))
PATIENCE = 60_000  # ms, for what waits for Python
TAMPER = """([sha256, blob]) => new Promise((resolve, reject) => {
    const opening = indexedDB.open("py-rwkv");
    opening.onsuccess = () => {
        const db = opening.result, work = db.transaction("shards", "readwrite"), shards = work.objectStore("shards");
        shards.get(sha256).onsuccess = ({ target: { result } }) => shards.put(new Blob([result.slice(0, -1), "!"]), sha256);
        work.oncomplete = () => (db.close(), resolve());
        work.onerror = reject;
    };
})"""


def packed(shard_limit: int = 20_000) -> tuple[Manifest, dict[str, bytes]]:
    """A small model and its files by name."""
    sink = MemorySink()
    made = {name: w * np.float32(0.1) for name, w in weights(CONFIG).items()}
    manifest = converted(BytesSource("small.pth", save(made)), sink, strategy="f16", shard_limit=shard_limit)
    files = {f"{name}.safetensors": data for name, data in sink.shards.items()}
    return manifest, {"manifest.json": manifest.to_json().encode(), **files}


@pytest.fixture
def slow() -> Iterator[Slow]:
    with slow_server() as server:
        yield server


def opened(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_test_id("start").wait_for()


def dialog(page: Page) -> None:
    page.evaluate("document.querySelector('[data-action=models]').click()")
    expect(page.get_by_test_id("models-dialog")).to_be_visible()


def mb(value: int) -> str:
    """As the page writes sizes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            scaled = value / size
            return f"{scaled:.1f} {unit}".replace(".0 ", " ") if scaled < 100 and unit != "kB" else f"{scaled:.0f} {unit}"
    return f"{value} B"


def test_the_catalogue_says_what_a_model_takes_and_why_it_cannot_run(page: Page, site_url: str) -> None:
    opened(page, site_url)
    dialog(page)
    for entry in CATALOGUE:
        expect(page.get_by_test_id(f"model-{entry['id']}")).to_contain_text(mb(entry["bytes"]))
    entry = next(e for e in CATALOGUE if e["id"] == "g1-0.4b")
    page.get_by_test_id("mirror").select_option("https://hf-mirror.com/")
    page.get_by_test_id("model-g1-0.4b").click()
    offer = page.get_by_test_id("offer")
    for size in entry["sizes"].values():
        expect(offer).to_contain_text(f"{mb(size['disk'])} stored, {mb(size['gpu'])} of GPU memory")
    expect(page.get_by_test_id("offer-source")).to_have_attribute(
        "href", re.compile(r"^https://hf-mirror\.com/BlinkDL/rwkv7-g1/blob/main/.*\.pth$")
    )
    expect(page.get_by_test_id("offer-start")).to_contain_text("902 MB")

    page.get_by_test_id("quantization-own").check()
    for text, said in (("nf4, head=int9", "int9"), ("int8 *4 -> nf4", re.compile(r"^\d+ MB stored, \d+ MB of GPU memory$"))):
        page.get_by_test_id("strategy").fill(text)
        page.get_by_test_id("strategy").press("Tab")
        expect(page.get_by_test_id("strategy-help")).to_contain_text(said, timeout=PATIENCE)

    asked: list[str] = []

    def missing(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=404)

    page.route(re.compile("hf-mirror|huggingface"), missing)
    page.get_by_test_id("offer-start").click()
    page.wait_for_selector("html[data-state=error]")
    assert asked and {url.replace("https://hf-mirror.com/", "https://huggingface.co/") for url in asked} == {entry["url"]}

    page.reload()
    page.get_by_test_id("start").wait_for()
    assert page.get_by_test_id("mirror").input_value() == "https://hf-mirror.com/"  # remembered
    page.evaluate(
        """() => {
            const probe = rwkv.probe.bind(rwkv);
            rwkv.probe = async () => { const found = await probe(); found.webgpu.limits.binding = 140e6; return found; };
            navigator.storage.estimate = async () => ({ quota: 1e9, usage: 0.5e9 });
        }"""
    )
    dialog(page)
    seven = page.get_by_test_id("model-world6-7b")
    expect(seven).to_have_attribute("aria-disabled", "true")
    expect(seven).to_contain_text("500 MB")
    seven.click(force=True)
    expect(offer).to_be_hidden()
    page.get_by_test_id("model-g1-0.4b").click()
    expect(page.get_by_test_id("quantization-f16")).to_be_disabled()
    expect(page.get_by_test_id("quantization-nf4")).to_be_enabled()
    page.keyboard.press("Escape")
    page.evaluate(
        "rwkv.probe = ((before) => async () => { const p = await before(); p.webgpu.limits.binding = 1e6; return p; })(rwkv.probe)"
    )
    dialog(page)
    expect(page.get_by_test_id("model-g1-0.1b")).to_contain_text("1 MB")
    expect(page.get_by_test_id("model-g1-0.1b")).to_have_attribute("aria-disabled", "true")


def test_a_download_pauses_breaks_off_and_goes_on_at_the_next_visit(page: Page, site_url: str, slow: Slow) -> None:
    manifest, files = packed()
    slow.files = {f"m/{name}": data for name, data in files.items()}
    slow.pause, count = 0.1, len(manifest.shards)
    assert count > 8
    opened(page, site_url)
    dialog(page)
    page.get_by_test_id("model-url").fill(f"{slow.url}m/")
    page.get_by_test_id("model-look").click()
    expect(page.get_by_test_id("offer")).to_contain_text("RWKV-7", timeout=PATIENCE)
    slow.broken.add(f"m/{manifest.shards[1].sha256}.safetensors")
    page.get_by_test_id("offer-start").click()
    page.get_by_test_id("pause").click()
    expect(page.get_by_test_id("load-waiting")).to_contain_text("Paused")
    before = len(slow.asked)
    page.wait_for_timeout(700)
    assert len(slow.asked) <= before + 1  # what was under way
    page.get_by_test_id("pause").click()
    expect(page.get_by_test_id("load-waiting")).to_be_hidden()
    for _ in range(200):
        if len(set(slow.paths())) >= count // 2:
            break
        page.wait_for_timeout(50)
    whole = [path for path, spans, _ in slow.asked if str(path).endswith(".safetensors") and not spans]
    assert len(whole) == len(set(whole))
    broken = [spans for path, spans, _ in slow.asked if manifest.shards[1].sha256 in str(path)]
    assert broken[0] == "" and re.fullmatch(r"bytes=[1-9]\d*-", str(broken[1]))  # it went on in the middle

    said = page.evaluate(
        """async () => {
        const { Gate } = await import("./engine/transfer.js");
        const said = [], gate = new Gate(new AbortController().signal, (waiting) => said.push(waiting?.reason ?? ""));
        gate.set(true);
        const again = gate.again(1); // what was under way breaks off meanwhile
        gate.set(false);
        return (await again) && said;
        }"""
    )
    assert said == ["paused", "paused", "retry", ""]  # it is still a person who goes on

    page.reload()
    expect(page.get_by_test_id("resume-note")).to_contain_text("%")
    [row] = page.evaluate("rwkv.models()")
    assert not row["complete"] and 0.1 < row["done"] < 1
    kept = round(row["stored"] / manifest.total_bytes * count)
    slow.asked.clear()
    slow.pause = 0
    page.get_by_test_id("resume").click()
    for _ in range(600):
        if page.evaluate("rwkv.models().then(([row]) => row.complete)"):
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("the rest did not come")
    assert len(slow.paths()) == len(set(slow.paths())) <= count - kept + 1


def test_a_stored_model_is_checked_repaired_saved_and_deleted(page: Page, site: Path, site_url: str, tmp_path: Path) -> None:
    manifest, files = packed(40_000)
    for name, data in files.items():
        (site / "models/mine").mkdir(exist_ok=True)
        (site / "models/mine" / name).write_bytes(data)
    opened(page, site_url)
    assert page.evaluate("u => rwkv.load(u, { device: 'numpy' }).then((info) => info.kept)", f"{site_url}models/mine/")
    page.wait_for_selector("html[data-state=ready]")
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url.split("/")[-1]) if r.url.endswith(".safetensors") else None)
    dialog(page)
    expect(page.get_by_test_id("stored-model")).to_contain_text("used ")
    expect(page.get_by_test_id("stored-model")).to_contain_text(f"RWKV-7 · f16 · {mb(manifest.total_bytes)}")
    expect(page.get_by_test_id("storage-use")).to_contain_text("free")
    expect(page.get_by_test_id("storage-promise")).to_contain_text(re.compile("promised to keep"))  # or has not: either is explained

    page.get_by_test_id("stored-check").click()
    expect(page.get_by_test_id("stored-note")).to_contain_text(f"All {len(manifest.shards)} files")
    page.evaluate(TAMPER, [manifest.shards[2].sha256, None])
    page.get_by_test_id("stored-check").click()
    expect(page.get_by_test_id("stored-note")).to_contain_text("1 damaged")
    assert requests == [f"{manifest.shards[2].sha256}.safetensors"]
    page.get_by_test_id("stored-check").click()
    expect(page.get_by_test_id("stored-note")).to_contain_text("All")

    page.get_by_test_id("stored-export").click()
    with page.expect_download() as download:
        page.get_by_test_id("stored-export.tar").click()
    with tarfile.open(download.value.path()) as archive:
        assert {name.split("/")[1]: archive.extractfile(name).read() for name in archive.getnames()} == files  # type: ignore[union-attr]
        archive.extractall(site / "models", filter="data")
    assert loaded(site / "models/small")[0] == manifest

    page.get_by_test_id("stored-delete").click()
    page.get_by_test_id("stored-keep").click()
    page.get_by_test_id("stored-delete").click()
    page.get_by_test_id("stored-delete.yes").click()
    expect(page.get_by_test_id("stored-model")).to_have_count(0)
    requests.clear()
    assert page.evaluate("u => rwkv.load(u, { device: 'numpy' }).then((info) => info.model.name)", f"{site_url}models/small/") == "small"
    assert len(requests) == len(manifest.shards)


@pytest.mark.first_visit
def test_without_room_to_store_it_a_model_runs_from_memory(page: Page, site: Path, site_url: str) -> None:
    _, files = packed(40_000)
    for name, data in files.items():
        (site / "models/homeless").mkdir(exist_ok=True)
        (site / "models/homeless" / name).write_bytes(data)
    opened(page, site_url)
    page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", {"origin": site_url.rstrip("/"), "quotaSize": 60_000})
    assert page.evaluate("u => rwkv.load(u, { device: 'numpy' }).then((info) => info.kept)", f"{site_url}models/homeless/") is False
    expect(page.get_by_test_id("memory-only")).to_be_visible()
    assert len(page.evaluate("rwkv.logits([1, 2]).then((l) => Array.from(l))")) == CONFIG.vocab
    assert not any(row["complete"] for row in page.evaluate("rwkv.models()"))
