"""The pytest plugin without a browser: what it costs those who do not use it, and what RwkvPage makes of what the page says."""

from __future__ import annotations

import base64
import subprocess
import sys
from array import array
from typing import Any

import pytest

from py_rwkv.errors import RwkvError
from py_rwkv.testing import RwkvPage
from py_rwkv.testing.chromium import NoBrowser, find

HEAVY = ("playwright", "numpy", "wgpu", "asyncio", "py_rwkv.site", "py_rwkv.runtime")


class Page:
    """Answers with what it was given, and remembers what it was asked."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def evaluate(self, script: str, argument: Any) -> dict[str, Any]:
        self.asked = argument
        return self.found


class Kind:
    executable_path = "/nowhere/chrome"


def test_pytest_starts_without_anything_heavy() -> None:
    code = f"import sys, pytest; before = set(sys.modules); import py_rwkv.testing.plugin; print(sorted(set({HEAVY}) & (set(sys.modules) - before)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_requests_are_deterministic_unless_they_say_otherwise() -> None:
    page = Page({"value": {"choices": [{"message": {"content": "Hi."}}]}})
    assert RwkvPage(page).chat("Hello", seed=5) == "Hi."  # type: ignore[arg-type]
    assert page.asked["name"] == "chat.completions.create"
    assert page.asked["args"] == ({"temperature": 0, "seed": 5, "messages": [{"role": "user", "content": "Hello"}]},)
    page.found = {"value": {"choices": [{"text": " there"}]}}
    assert RwkvPage(page).complete("Hello", temperature=1) == " there"  # type: ignore[arg-type]
    assert page.asked["name"] == "completions.create" and page.asked["args"] == ({"temperature": 1, "seed": 0, "prompt": "Hello"},)


def test_what_the_page_says() -> None:
    page = Page({"floats": base64.b64encode(array("f", [0.5, -2]).tobytes()).decode()})
    rwkv = RwkvPage(page, timeout=2)  # type: ignore[arg-type]
    assert list(rwkv.logits((1, 2))) == [0.5, -2] and page.asked == {"name": "logits", "args": ([1, 2],), "ms": 2000}
    page.found = {"late": True}
    with pytest.raises(TimeoutError, match=r"rwkv\.tokenize took longer than 2 s"):
        rwkv.tokenize("a")
    told = {"code": "bad-token", "details": {"token": 9, "vocab": 4}, "message": "…"}
    for error, code in ((told, "bad-token"), (told | {"details": {}}, "internal"), ({"message": "no such method"}, "internal")):
        page.found = {"error": error}
        with pytest.raises(RwkvError) as caught:
            rwkv.call("logits", [9])
        assert caught.value.code == code


def test_a_browser_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoBrowser, match=r"none of chromium.*`playwright install"):
        find(Kind)  # type: ignore[arg-type]
    with pytest.raises(NoBrowser, match="'mine' that `rwkv_chromium` names"):
        find(Kind, "mine")  # type: ignore[arg-type]
    assert find(Kind, sys.executable) == sys.executable  # type: ignore[arg-type]
