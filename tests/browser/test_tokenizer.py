"""A tokenizer's own file in the page: dropped beside a checkpoint, or in a model directory."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from make_pth import save
from models import converted
from playwright.sync_api import Page, Route
from tiny_model import weights

from py_rwkv.checkpoint.shards import DirectorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config
from py_rwkv.tokenizer import open_tokenizer

CONFIG = Config("7", 1, 64, 1, 64, 256, 392, {"w": 16, "a": 16, "v": 16, "g": 16})
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "bpe.json").read_text("utf-8"))
BPE: bytes = json.dumps(GOLDEN["tokenizer"]).encode()
CHECKPOINT = save({name: w * np.float32(0.1) for name, w in weights(CONFIG).items()})
TEXTS = [text for text, _ in GOLDEN["encoded"]]
IDS = [tokens for _, tokens in GOLDEN["encoded"]]
LOAD = """([table]) => {
    const files = Object.entries(table).map(([name, text]) =>
        new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { lastModified: 5 }));
    return rwkv.load(files).then(() => "ready", (e) => e.code);
}"""


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("html[data-state]")
    return page


def load_files(page: Page, **table: bytes) -> str:
    found: str = page.evaluate(LOAD, [{name.replace("__", "."): base64.b64encode(data).decode() for name, data in table.items()}])
    return found


def tokens(page: Page, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = page.evaluate(
        "async (texts) => { const all = []; for (const t of texts) all.push(await rwkv.tokenize(t)); return all; }", texts
    )
    return found


def code_of(page: Page, source: str) -> str:
    found: str = page.evaluate("source => rwkv.load(source).then(() => 'ready', (e) => e.code)", source)
    return found


def test_a_tokenizer_dropped_beside_a_checkpoint(page: Page, site_url: str) -> None:
    opened(page, site_url)
    assert load_files(page, tiny__pth=CHECKPOINT, tokenizer__json=BPE) == "ready"
    assert tokens(page, TEXTS) == IDS  # the same in Pyodide, with its Unicode tables, as Hugging Face's
    assert load_files(page, tiny__pth=CHECKPOINT, some_vocab__txt=b"1 'a' 1\n") == "tokenizer-mismatch"


def test_a_model_directory_brings_its_tokenizer(page: Page, site: Path, site_url: str) -> None:
    target = site / "models/words"
    manifest = converted(BytesSource("words.pth", CHECKPOINT), DirectorySink(target), strategy="int8", tokenizer=BPE)
    opened(page, site_url)
    asked: list[str] = []

    def damaged(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=BPE[:-1] + b" ")

    page.route(f"**/{manifest.tokenizer_name}", damaged)
    assert code_of(page, site_url + "models/words/") == "shard-mismatch" and len(asked) == 2
    page.unroute(f"**/{manifest.tokenizer_name}")
    assert code_of(page, site_url + "models/words/") == "ready"
    assert tokens(page, TEXTS[:20]) == IDS[:20]
    page.route("**/models/words/*", lambda route: route.abort())
    assert code_of(page, site_url + "models/words/") == "ready"  # all of it is in the store
    vocabulary = b"".join(b"%d %r 1\n" % (i, bytes([i])) for i in range(256)) + b"256 'ab' 2\n"
    target = site / "models/vocabulary"
    converted(BytesSource("v.pth", CHECKPOINT), DirectorySink(target), strategy="int8", tokenizer=vocabulary)
    assert code_of(page, site_url + "models/vocabulary/") == "ready"
    assert tokens(page, ["abc é"]) == [open_tokenizer(vocabulary).encode("abc é")]
