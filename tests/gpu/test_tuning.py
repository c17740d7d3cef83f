"""The self-test and the choice of forms on a real adapter: right forms pass, wrong ones give way, and a race leaves the model as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_pth import save
from models import logits_of, packed
from tiny_model import weights

from py_rwkv.cli import main
from py_rwkv.cli.tune import table
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import HARDWARE, SAFE, SOFTWARE, VALUES, Choice, Tuning, candidates, choice_of, prefill_candidates, preset
from py_rwkv.native import _Ready, open_model
from py_rwkv.runtime import race, selftest, tuner
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.kept import KeptFile
from py_rwkv.runtime.tuner import Tuner
from py_rwkv.tokenizer import tokenizer_for

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
CONFIG = Config("7", 2, 64, 1, 64, 128, 600, {"w": 16, "a": 16, "v": 16, "g": 16})  # its pipelines are those of the self-test


@pytest.fixture(scope="module")
def device() -> Iterator[WgpuDevice]:
    """Its pipelines serve all tests here."""
    device = WgpuDevice()
    yield device
    device.close()


@pytest.mark.parametrize(
    ("version", "encoding"), [("7", "int8"), ("7", "nf4"), ("7", "int4"), ("7", "f16"), ("6", "int8"), ("5.2", "int8"), ("4", "int8")]
)
def test_this_adapter_passes(device: WgpuDevice, version: str, encoding: str) -> None:
    for choice in (preset(device.features), SAFE):
        assert asyncio.run(selftest.check(device, choice, version, encoding, encoding, encoding)) < selftest.TOLERANCE / 10


def test_forms_for_hardware_pass_too(device: WgpuDevice) -> None:
    within = replace(HARDWARE, lanes=device.features.subgroups[0], sums="subgroup")
    for form in (HARDWARE, within):
        assert asyncio.run(selftest.check(device, choice_of(form), "7", "int8", "f16", "int8")) < selftest.TOLERANCE / 10


PACKED = replace(SOFTWARE, share=1, dots="packed")


def test_forms_that_round_activations_are_told_from_exact_ones(device: WgpuDevice) -> None:
    choice = Choice(PACKED, replace(PACKED, tile="4x8", whole_heads=False))
    error = asyncio.run(selftest.check(device, choice, "7", "int8", "f16", "int8"))
    assert selftest.TOLERANCE / 10 < error < selftest.ROUGH
    assert (
        asyncio.run(selftest.check(device, choice, "7", "f16", "f16", "f16")) < selftest.TOLERANCE / 10
    )  # only int8 matrices have such products


HALF = replace(SOFTWARE, share=1, dots="half")


def test_products_in_f16_are_told_from_exact_ones(device: WgpuDevice) -> None:
    assert device.features.f16
    choice = Choice(HALF, replace(HALF, tile="4x8", whole_heads=False))
    for encoding in ("int8", "f16", "nf4", "int4"):
        error = asyncio.run(selftest.check(device, choice, "7", encoding, "f16", encoding))
        assert selftest.TOLERANCE / 10 < error < selftest.ROUGH


@pytest.mark.parametrize(("form", "most"), [(PACKED, 1e-4), (HALF, 1e-5)], ids=["packed", "half"])
def test_rounded_activations_cost_as_little_as_int8_weights(form: Tuning, most: float) -> None:
    """KL of the exact int8 demo's predictions to those with rounded activations, in nats a token; int8 weights cost 5.8e-6 (docs/quantization.md)."""
    tokens = tokenizer_for("world").encode(
        "User: What is the capital of Norway?\n\nAssistant: The capital of Norway is Oslo.\n\nUser: Thank you!\n\nAssistant:"
    )

    async def predictions(tuning: Any) -> np.ndarray:
        engine = await open_model("demo", "gpu", tuning=tuning)
        logits = (await logits_of(engine, tokens, every=True)).astype(np.float64)
        engine.close()
        return logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(1, keepdims=True)

    exact, rounded = (asyncio.run(predictions(t)) for t in ("preset", Choice(form, replace(form, tile="4x8", whole_heads=False))))
    kl = (np.exp(exact) * (exact - rounded)).sum(1)
    assert 0 < kl.mean() < most and np.isfinite(rounded).all()


class Poisoned(WgpuDevice):
    """An adapter whose compiler gets some shaders wrong."""

    kernels, wrong = ("wkv7_head",), ("inverseSqrt(", "0.5 * inverseSqrt(")

    @classmethod
    def like(cls, device: WgpuDevice) -> WgpuDevice:
        """The same adapter with this compiler; what is compiled already, is right and stays so."""
        other = device.twin()
        other.__class__ = cls
        other.tune(preset(other.features))
        return other

    def _pipeline(self, spec: dict[str, Any]) -> tuple[Any, Any]:
        return super()._pipeline(spec | {"code": spec["code"].replace(*self.wrong)} if spec["label"] in self.kernels else spec)


class Hopeless(Poisoned):
    kernels = ("layer_norm",)


class Refusing(Poisoned):
    wrong = ("inverseSqrt(", "not a shader(")


async def engine(device: WgpuDevice, path: Path, mode: Any = "auto") -> Engine:
    manifest, shards = packed(weights(CONFIG), "int8")
    return await Engine.load(manifest, _Ready(shards), device, slots=2, tuner=Tuner(KeptFile(path), "build", mode))


def test_a_wrong_form_gives_way_for_good(tmp_path: Path, device: WgpuDevice) -> None:
    right = asyncio.run(logits_of(asyncio.run(engine(device, tmp_path / "other")), TOKENS))
    for poisoned, code in ((Poisoned.like(device), "wrong-numerics"), (Refusing.like(device), "kernel-failed")):
        kept = tmp_path / code
        loaded = asyncio.run(engine(poisoned, kept))
        assert loaded.tuning["source"] == "fallback" and loaded.tuning["failure"]["code"] == code
        assert (poisoned.decode, poisoned.prefill) == (SAFE.decode, SAFE.prefill)
        assert np.abs(asyncio.run(logits_of(loaded, TOKENS)) - right).max() < 1e-4
        again = asyncio.run(engine(poisoned, kept))
        assert again.tuning["source"] == "stored" and "test_ms" not in again.tuning and poisoned.prefill == SAFE.prefill


def test_an_adapter_that_is_always_wrong_is_refused(tmp_path: Path, device: WgpuDevice) -> None:
    with pytest.raises(RwkvError, match="computes wrongly") as caught:
        asyncio.run(engine(Hopeless.like(device), tmp_path / "kept"))
    assert caught.value.code == "wrong-numerics" and "driver" in caught.value.hint


def test_a_race_leaves_the_model_as_it_was(tmp_path: Path, device: WgpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "candidates", lambda *given: candidates(*given)[:2])  # compiling more takes seconds
    monkeypatch.setattr(race, "prefill_candidates", lambda *given: prefill_candidates(*given)[:2])
    before = asyncio.run(engine(device, tmp_path / "kept", "preset"))
    expected, memory = asyncio.run(logits_of(before, TOKENS)), before.info()["memory"]
    assert before.tuning["source"] == "preset"
    measured = asyncio.run(engine(device, tmp_path / "kept", "measure"))
    assert measured.tuning["source"] == "measured"
    choice = Choice.from_json({name: measured.tuning[name] for name in ("decode", "prefill")})
    assert choice == Choice(device.decode, device.prefill) and choice.prefill.chunk in VALUES["chunk"]
    assert np.abs(asyncio.run(logits_of(measured, TOKENS)) - expected).max() < 1e-4
    assert measured.info()["memory"] == memory and measured.info()["tuning"] == measured.tuning
    session = measured.session()
    assert session.slot == 0 and np.abs(np.frombuffer(asyncio.run(session.feed(TOKENS, "last")), np.float32) - expected).max() < 1e-4


def test_the_command_measures_and_later_loads_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replace(SAFE, prefill=replace(SAFE.prefill, chunk=64))

    async def measure(*_: Any) -> Choice:
        return found

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuner, "measure", measure)
    model = tmp_path / "tiny.pth"
    model.write_bytes(save(weights(CONFIG)))
    assert main(["tune", str(model), "--device", "cpu"]) == 1
    assert main(["tune", str(model), "--quant", "int8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["source"] == "measured" and report["prefill"]["chunk"] == 64
    kept = json.loads((tmp_path / "py_rwkv" / "tuning.json").read_text())
    assert [json.loads(key)[0] for key in kept].count("choice") == 1
    loaded = asyncio.run(open_model(model, "gpu", quantization="int8"))
    assert loaded.tuning["source"] == "stored" and Choice(loaded.device.decode, loaded.device.prefill) == found
    assert table({"model": "tiny", "adapter": "it"} | loaded.tuning).splitlines()[-1].split() == ["chunk", "32", "64"]
