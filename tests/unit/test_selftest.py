"""The self-test's model: its stored logits are those of the references, and no part of it could be wrong unnoticed."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models import PROGRAMS
from py_rwkv.models.tuning import SAFE, SOFTWARE, choice_of
from py_rwkv.quant import ENCODINGS
from py_rwkv.runtime import selftest
from py_rwkv.runtime.selftest import EVERY, TOLERANCE, Tensor, check, expected, model, rows


@pytest.mark.parametrize("version", PROGRAMS)
def test_the_references_make_the_stored_logits(version: str) -> None:
    for encoding, (emb, head) in zip(
        ENCODINGS, [("f16", "int4"), ("nf4", "f16"), ("int4", "int8"), ("f32", "nf4"), ("int8", "f32")], strict=True
    ):
        assert asyncio.run(check(NumpyDevice(), SAFE, version, encoding, emb, head)) < 0.6 / selftest.STEP
    spread = np.array(expected(version, "int8"))
    assert 1 < spread.std() < 5 and np.abs(spread).max() < 30


def test_every_weight_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """V7: whatever tensor a kernel leaves out shows in the logits."""
    whole, known = model("7", "f32", "f32", "f32"), np.array(expected("7", "f32"))
    quiet = []
    for name, tensor in whole.items():
        if name.startswith("blocks.0.ln0"):
            continue  # for embeddings that come as inputs
        altered = whole | {name: Tensor(tensor.dtype, tensor.shape, bytes(len(tensor.data)))}
        monkeypatch.setattr(selftest, "model", lambda *_, altered=altered: altered)
        found = np.array([row[::EVERY] for row in asyncio.run(rows(NumpyDevice(), choice_of(SOFTWARE), "7", "f32", "f32", "f32"))])
        if np.abs(found.ravel() - known).max() <= TOLERANCE:
            quiet.append(name)
    assert quiet == []


@pytest.mark.parametrize("wrong", ["nan", "off", "order"])
def test_wrong_logits_are_noticed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = NumpyDevice.run

    async def altered(self: Any, program: str, step: Any, read: str = "", nbytes: int = 0, **more: Any) -> bytes:
        raw = await run(self, program, step, read, nbytes, **more)
        logits = np.frombuffer(raw, np.float32).copy()
        if read == "logits" and wrong == "nan":
            logits[9] = np.nan
        elif read == "logits" and wrong == "off":
            logits += 2 * TOLERANCE
        elif read == "logits":
            logits[[1, 2]] = logits[[2, 1]]  # not among those that are known, but no longer the order of the candidates
        return logits.tobytes()

    monkeypatch.setattr(NumpyDevice, "run", altered)
    with pytest.raises(RwkvError, match="computes wrongly") as caught:
        asyncio.run(check(NumpyDevice(), SAFE, "7", "int8", "int8", "int8"))
    assert caught.value.code == "wrong-numerics"
