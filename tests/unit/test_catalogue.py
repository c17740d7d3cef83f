"""The catalogue of the page is what its recipe writes, and says of every model what loading it needs to know."""

from __future__ import annotations

import json

from build_scripts import make_catalogue
from py_rwkv.models.config import Config
from py_rwkv.resources import web_dir

TEXT = (web_dir() / "models/catalogue.json").read_text("utf-8")
ENTRIES = json.loads(TEXT)


def test_the_file_is_what_the_recipe_writes() -> None:
    assert make_catalogue.catalogue() == TEXT, "run build_scripts/make_catalogue.py"


def test_entries_are_whole() -> None:
    assert len({entry["id"] for entry in ENTRIES}) == len(ENTRIES) == 12
    for entry in ENTRIES:
        assert ("path" in entry) != ("url" in entry) and entry["licence"] and entry["languages"]
        assert set(entry["description"]) == {"en", "zh"}
        Config.from_json(entry["config"])
        assert all(size["gpu"] > size["disk"] * 0.9 > 0 for size in entry["sizes"].values())
        if "path" in entry:  # whose repeated rows are stored, and held, once
            assert all(size["gpu"] < 3 * size["disk"] for size in entry["sizes"].values())
        if "url" in entry:
            assert entry["url"].startswith("https://huggingface.co/BlinkDL/") and entry["url"].endswith(".pth")
            assert abs(entry["bytes"] - 2 * entry["parameters"]) < 2e5  # official files hold 16 bits per weight, and little else
            sizes = entry["sizes"]
            assert sizes["nf4"]["disk"] < sizes["int4"]["disk"] < sizes["int8"]["disk"] < sizes["f16"]["disk"] < 1.01 * entry["bytes"] + 1e6
