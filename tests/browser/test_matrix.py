"""Versions × encodings in Chromium on its software adapter: a tiny checkpoint opened in the page gives the logits that numpy gives for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.older_model import OlderShape, make_older
from golden.random_model import Shape, make
from make_pth import save
from models import engine_of, finished, logits_of
from paths import FIXTURES
from playwright.sync_api import Page
from profiles import Profiles

from py_rwkv.checkpoint.convert import open_weights
from py_rwkv.checkpoint.export import export_safetensors, from_checkpoint
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.quant import ENCODINGS

VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")
TOKENS = [0, 76, 12, 12, 55, 3, 40]
STRATEGIES = (
    "int8 *1 -> nf4, emb=f16, head=int4",
    "int4 *1 -> f16, emb=nf4, head=int8",
)  # every encoding in a layer; opening a model takes a second
LOGITS = """async ([url, quantization, tokens]) => {
    await rwkv.load(url, { quantization });
    return Array.from(await rwkv.logits(tokens));
}"""


@pytest.fixture(scope="module")
def open_page(profiles: Profiles, site_url: str) -> Iterator[Page]:
    """One page for all: every load replaces the model before it."""
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    yield page
    page.context.close()


def logits_in(page: Page, url: str, quantization: str, tokens: list[int]) -> np.ndarray:
    return np.array(page.evaluate(LOGITS, [url, quantization, tokens]), np.float32)


def official(version: str) -> dict[str, np.ndarray]:
    """Two layers with heads of 12."""
    if version == "7":
        return make(Shape(2, 2, (5, 9, 3, 11), vocab=77, head_size=12, first_value=False, seed=4))
    return make_older(OlderShape(version, 2, 2, 12, ffn=50, vocab=77, ranks=(5, 9), seed=4))


async def on_numpy(weights: dict[str, np.ndarray], strategy: str) -> np.ndarray:
    return await logits_of(await engine_of(weights, NumpyDevice(), strategy), TOKENS)


def test_every_encoding_is_in_the_matrix() -> None:
    assert {e for s in STRATEGIES for e in re.findall(r"\w+", s.partition(",")[0])} >= ENCODINGS.keys() - {"f32"}


@pytest.mark.parametrize("version", ["4", "5.1", "7"])  # the others as rwkv.cpp's tiny models below
def test_encodings_of_versions(open_page: Page, site: Path, site_url: str, version: str) -> None:
    """Both strategies for V7, one of them for each older version. (tests/gpu/test_matrix.py has all of all.)"""
    weights = official(version)
    (site / f"v{version}.pth").write_bytes(save(weights))
    for strategy in STRATEGIES if version == "7" else [STRATEGIES[VERSIONS.index(version) % 2]]:
        found = logits_in(open_page, f"{site_url}v{version}.pth", strategy, TOKENS)
        expected = finished(on_numpy(weights, strategy))
        assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max(), strategy


@pytest.mark.skipif(not FIXTURES.exists(), reason="needs ../shared; tests/golden and the matrix above are this project's own")
@pytest.mark.parametrize("version", ["v4", "v5.0", "v5.2", "v6", "v7"])
def test_rwkv_cpp_s_tiny_models(open_page: Page, site: Path, site_url: str, version: str) -> None:
    """Their expected logits; V5's were computed with an eps of 1e-5, which a safetensors file can say."""
    checkpoint: Any = open_weights(FIXTURES / f"{version}.pth")
    if version.startswith("v5"):
        checkpoint.group_norm_eps = 1e-5
    export_safetensors(from_checkpoint(checkpoint), site / f"{version}.safetensors")
    found = logits_in(open_page, f"{site_url}{version}.safetensors", "f32", [34, 105, 110])
    assert np.abs(found - np.load(FIXTURES / f"{version}.expected.npy")).max() < 1e-4
