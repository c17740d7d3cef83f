"""Every version × every encoding × every device, on sizes that fit nothing: heads of 12 and 48, a vocabulary of 277, an FFN of 130, ranks that are no power of two."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pytest
from golden.cases import CASES, load_case
from golden.older_cases import SHAPES, load_older
from golden.older_model import OlderShape, make_older
from golden.random_model import Shape, make
from models import engine_of, packed

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import MemoryShards
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.native import _Ready
from py_rwkv.program import Run, Step
from py_rwkv.quant import ENCODINGS
from py_rwkv.runtime.engine import Engine

VERSIONS = ("4", "5.0", "5.1", "5.2", "6", "7")
LARGEST_KL = {
    "f32": 0.0,
    "f16": 1e-6,
    "int8": 6e-4,
    "nf4": 0.1,
    "int4": 0.1,
}  # of a token's distribution, on average; a new encoding must say its own
TOKENS = [0, 276, 41, 41, 7, 130, 255, 12, 99, 1, 200, 3, 68, 31, 31, 270, 5, 66, 17, 150, 2, 243, 88]
CHUNKS = (1, 7, 3, 11, 1)  # a prompt in odd pieces


def official(version: str, layers: int, heads: int, head_size: int) -> dict[str, np.ndarray]:
    """Weights as large as those of trained models."""
    if version != "7":
        return make_older(OlderShape(version, layers, heads, head_size, ffn=130, vocab=277, ranks=(7, 19), seed=3))
    made = make(Shape(layers, heads, (21, 5, 13, 33), vocab=277, head_size=head_size, first_value=False, seed=3))
    cut = {"ffn.key.weight": (slice(130), slice(None)), "ffn.value.weight": (slice(None), slice(130))}
    return {name: np.ascontiguousarray(w[cut[name[9:]]]) if name[9:] in cut else w for name, w in made.items()}


@cache
def model(version: str, strategy: str, layers: int = 2, heads: int = 2, head_size: int = 48) -> tuple[Manifest, MemoryShards]:
    return packed(official(version, layers, heads, head_size), strategy)


async def fed(device: Any, model: tuple[Manifest, MemoryShards], chunks: tuple[int, ...]) -> np.ndarray:
    """Logits [T, V] at every position (of the last 8 of a longer chunk, NaN before) when TOKENS come in chunks of these sizes, the last again and again."""
    engine = await Engine.load(model[0], _Ready(model[1]), device, slots=2)
    rows = np.full((len(TOKENS), engine.config.vocab), np.nan, np.float32)
    session, at = engine.session(), 0
    for i in range(len(TOKENS)):
        part = TOKENS[at : at + chunks[min(i, len(chunks) - 1)]]
        if part:
            program = engine.decode if len(part) == 1 else engine.prefill
            outputs = min(8, len(part))
            raw = await device.run(program.name, Step.of([Run(session.slot, part, outputs)]), "logits", 4 * engine.config.vocab * outputs)
            at += len(part)
            rows[at - outputs : at] = np.frombuffer(raw, np.float32).reshape(outputs, -1)
    engine.close()
    return rows


@cache
def on_numpy(version: str, strategy: str, **sizes: int) -> np.ndarray:
    return asyncio.run(fed(NumpyDevice(), model(version, strategy, **sizes), (8,)))


def log_softmax(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    top = wide.max(-1, keepdims=True)
    out: np.ndarray = wide - top - np.log(np.exp(wide - top).sum(-1, keepdims=True))
    return out


def differs(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in units of what logits there are; positions without logits do not count."""
    assert not np.isnan(expected).any() and (~np.isnan(found)).any(1).sum() >= 8
    return float(np.nanmax(np.abs(found - expected)) / np.abs(expected).max())


@pytest.mark.parametrize("strategy", ENCODINGS)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_adapter_and_numpy_agree(wgpu_device: WgpuDevice, version: str, strategy: str) -> None:
    """In odd chunks on the adapter, in chunks of eight on numpy."""
    found = asyncio.run(fed(wgpu_device, model(version, strategy), CHUNKS))
    assert differs(found, on_numpy(version, strategy)) < (
        3e-3 if strategy == "nf4" else 2e-4
    )  # nf4's values are a polynomial there, a table here


@pytest.mark.parametrize("strategy", ENCODINGS)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_encoding_is_as_near_to_f32_as_it_promises(version: str, strategy: str) -> None:
    exact, found = log_softmax(on_numpy(version, "f32")), log_softmax(on_numpy(version, strategy))
    kl = float((np.exp(exact) * (exact - found)).sum(-1).mean())
    assert kl <= LARGEST_KL[strategy]
    assert strategy in ("f32", "f16") or kl > LARGEST_KL[strategy] / 30  # or it is not that encoding


@pytest.mark.parametrize("chunks", [(1,), (23,), CHUNKS], ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_one_layer_read_in_any_chunks(wgpu_device: WgpuDevice, version: str, chunks: tuple[int, ...]) -> None:
    """Token by token, at once, or in odd chunks; a V7 of one layer has no value mix at all."""
    sizes = {"layers": 1, "heads": 3, "head_size": 12}
    found = asyncio.run(fed(wgpu_device, model(version, "f32", **sizes), chunks))
    assert differs(found, on_numpy(version, "f32", **sizes)) < 1e-4


GOLDENS = [*((name, "f16") for name in SHAPES), *((name, s) for name in ("one_head", "two_heads", "small_heads") for s in ("f32", "f16"))]


@pytest.mark.parametrize("device", ["numpy", "adapter"])
@pytest.mark.parametrize(("name", "strategy"), GOLDENS)
def test_goldens_at_every_position_and_the_final_state(wgpu_device: WgpuDevice, name: str, strategy: str, device: str) -> None:
    """What the `rwkv` package computes from f32 weights, from f32 ones and f16 ones. (test_older_versions.py has V4 to V6 in f32.)"""
    limit = {"f32": 2e-3, "f16": 3e-2}[strategy]
    case: Any = load_older(name) if name in SHAPES else load_case(name)
    tokens = [int(t) for t in case.tokens]

    async def run() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        engine = await engine_of(case.weights, NumpyDevice() if device == "numpy" else wgpu_device, strategy)
        session, rows = engine.session(), []
        for at in range(0, len(tokens), 8):
            part = tokens[at : at + 8]
            step = Step.of([Run(session.slot, part, len(part))])
            rows.append(await engine.device.run("prefill", step, "logits", 4 * engine.config.vocab * len(part)))
        state = {n: np.frombuffer(data, np.float32) for n, data in (await engine.device.read_state(session.slot)).items()}
        engine.close()
        return np.frombuffer(b"".join(rows), np.float32).reshape(len(tokens), -1), state

    logits, state = asyncio.run(run())
    assert (case.error(logits) if name in CASES else np.abs(logits - case.logits).max()) < limit
    layers = [{kind: state[f"state.{i}.{kind}"] for kind in ("att_prev", "wkv", "ffn_prev")} for i in range(len(state) // 3)]
    for kind, expected in case.state.items():
        part = "aa bb pp".split().index(kind) if kind in ("aa", "bb", "pp") else None  # V4's wkv holds these three
        found = [layer["wkv"].reshape(3, -1)[part] if part is not None else layer[kind] for layer in layers]
        assert np.abs(np.array(found).reshape(expected.shape) - expected).max() < limit, kind
