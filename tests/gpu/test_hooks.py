"""Hooks on the adapter: what they see is what numpy sees, what they change changes the same, and the unfused kernels do what the fused ones do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hook_cases import CONFIGS, TOKENS, hooked, logits, run_document
from tiny_model import CONFIG

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.hooks import Callback, Hook, Insert, elementwise
from py_rwkv.runtime.compare import compare
from py_rwkv.runtime.dump import Dump, record


def recorded(version: str, device: Any, *hooks: Hook, fused: bool = False, rows: int = 0) -> Dump:
    return asyncio.run(record(lambda own: hooked(CONFIGS[version], [*hooks, *own], device=device), TOKENS, fused=fused, rows=rows))


@pytest.mark.parametrize("version", ["4", "5.0", "5.1", "6", "7"])
def test_every_value_is_that_of_numpy_fused_or_not(version: str) -> None:
    """Written back before it is recorded; in steps of four rows and, for those that an ordinary run has, in one of seven."""
    same = Callback("*", lambda value, frame: value)
    unfused = recorded(version, WgpuDevice(), same, rows=4)
    found = compare(recorded(version, NumpyDevice()), unfused, 1e-4)
    assert not found.not_finite and not found.first and not found.alone
    found = compare(recorded(version, WgpuDevice(), fused=True), unfused, 1e-5)
    assert not found.first and found.alone  # `alone`: the values between the steps of fused kernels


def test_inserted_kernels_do_what_their_references_do() -> None:
    """Values of another plane, of the same buffer, of another buffer, and of the outputs."""
    product = lambda x, y: x * y  # noqa: E731
    cases = {
        "7": [
            Insert("layer.*.att.shift.v", elementwise("plane", "x * k", product, reads=("att.shift.k",))),
            Insert("layer.*.att.b", elementwise("inside", "x * decay", product, reads=("att.decay",))),
            Insert("head", elementwise("outputs", "0.5 * x + 1.0", lambda x: np.float32(0.5) * x + 1)),
        ],
        "6": [
            Insert("layer.*.att.decay", elementwise("outside", "x * (0.5 + 0.1 * r)", lambda x, r: x * (0.5 + 0.1 * r), reads=("att.r",)))
        ],
    }
    for version, hooks in cases.items():
        plain, expected = logits(CONFIGS[version]), logits(CONFIGS[version], hooks)
        assert np.abs(logits(CONFIGS[version], hooks, device=WgpuDevice()) - expected).max() < 1e-4
        assert np.abs(expected - plain).max() > 1e-2
        for hook in hooks:
            assert np.abs(logits(CONFIGS[version], [hook]) - plain).max() > 1e-4


def test_the_document_on_the_adapter(tmp_path: Path) -> None:
    names = run_document(tmp_path, "gpu")
    expected = logits(CONFIG, names["kernels"])
    assert np.abs(logits(CONFIG, names["kernels"], device=WgpuDevice()) - expected).max() < 1e-4
    expected = logits(CONFIGS["6"], names["puzzle_functions"])
    assert np.abs(logits(CONFIGS["6"], names["puzzle_kernels"], device=WgpuDevice()) - expected).max() < 1e-4
