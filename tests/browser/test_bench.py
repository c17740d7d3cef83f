"""The benchmark page: what it counts is what the Program says, what it measures is finite; it can be stopped, refuses nonsense, and its report can be copied."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from models import finished
from playwright.sync_api import Page, expect

from py_rwkv.native import open_model


def measured(value: Any) -> Iterator[float]:
    """Every number in a report."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from measured(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def fill(page: Page, **fields: str) -> None:
    for name, text in fields.items():
        page.get_by_test_id(name).fill(text)
    page.get_by_test_id("run").click()


def test_the_benchmark_page(page: Page, site_url: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(site_url)
    page.get_by_test_id("bench").wait_for(state="attached")
    page.goto(page.get_by_test_id("bench").evaluate("link => link.href"))
    expect(page.get_by_test_id("run")).to_be_enabled()
    expect(page.get_by_test_id("model")).to_contain_text("RWKV-7 demo")
    fill(page, prompts="5, 40", answer="4", batches="1, 3", requests="5", rounds="1")
    page.wait_for_selector("html[data-bench=done]")
    page.get_by_test_id("copy-json").click()
    expect(page.get_by_test_id("status")).to_have_text("Copied")
    report = json.loads(page.evaluate("navigator.clipboard.readText()"))
    program = finished(open_model("demo", "cpu")).info()["program"]
    assert report["dispatches_per_token"] == program["dispatches"] and report["dispatches_per_layer"] == program["dispatchesPerLayer"]
    assert report["bytes_per_token"] == program["bytesPerToken"]
    assert (report["device"], report["prompt_tokens"], report["decode_tokens"]) == ("webgpu", 5, 4)
    assert [p["prompt_tokens"] for p in report["prefills"]] == [40] and [b["batch"] for b in report["batches"]] == [1, 3]
    assert [(r["requests"], r["tokens"]) for r in report["requests"]] == [(5, 20)]  # five at a time, nobody is cut short
    speeds = [report[key] for key in ("prefill_tok_s", "decode_tok_s", "draw_tok_s", "copy_gb_s", "roundtrip_us")]
    assert all(math.isfinite(n) and n >= 0 for n in measured(report)) and min(speeds) > 0
    assert {"python", "upload", "compile", "warmup"} <= report["load_ms"].keys()

    expect(page.get_by_test_id("speeds").locator("tr")).to_have_count(7)
    expect(page.get_by_test_id("facts")).to_contain_text(report["adapter"])
    page.get_by_test_id("language").click()
    expect(page.get_by_test_id("speeds")).to_contain_text("读入 40 个词元")
    page.get_by_test_id("copy-markdown").click()
    expect(page.get_by_test_id("status")).to_have_text("已复制")
    table = page.evaluate("navigator.clipboard.readText()")
    assert table.count("\n|") == 8 and re.search(r"^- .*MB", table, re.MULTILINE)

    fill(page, answer="60000")
    page.get_by_test_id("stop").click()
    page.wait_for_selector("html[data-bench=failed]")
    expect(page.get_by_test_id("status")).to_have_text("已停止。")
    expect(page.get_by_test_id("problem")).to_be_hidden()
    fill(page, answer="none")
    expect(page.get_by_test_id("problem")).to_contain_text("decode")
    expect(page.get_by_test_id("run")).to_be_enabled()
