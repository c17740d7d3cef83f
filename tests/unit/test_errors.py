"""Every error code that Python or JavaScript raises has text in both languages, with the same fields."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from py_rwkv.errors import RwkvError, texts
from py_rwkv.resources import PACKAGE, web_dir


def raised() -> dict[str, str]:
    """code → a file that raises it."""
    files = [*PACKAGE.rglob("*.py"), *web_dir().rglob("*.js")]
    return {code: file.name for file in files for code in re.findall(r"RwkvError\(\s*\"([a-z-]+)\"", file.read_text("utf-8"))}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_raised_code_has_a_text() -> None:
    assert {code: file for code, file in raised().items() if code not in texts()} == {}


@pytest.mark.parametrize("code", texts())
def test_texts_in_both_languages_use_the_same_fields(code: str) -> None:
    english, chinese = texts()[code]["en"], texts()[code]["zh"]
    assert len(english) == len(chinese) == 2 and english[0] and chinese[0]
    assert fields(" ".join(english)) == fields(" ".join(chinese))
    assert re.search(r"[\u4e00-\u9fff]", chinese[0])


def test_an_error_carries_its_details() -> None:
    error = RwkvError("bad-token", token=7, vocab=5)
    assert error.to_dict() == {"code": "bad-token", "message": error.message, "hint": error.hint, "details": {"token": 7, "vocab": 5}}
    assert "7" in error.message and str(error).endswith("[bad-token]")
