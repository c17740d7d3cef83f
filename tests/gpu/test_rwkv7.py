"""RWKV-7 end to end against the `rwkv` package's values (tests/golden), on numpy and on the adapter in both kernel flavours."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from golden.cases import CASES, load_case
from models import engine_of, logits_of
from paths import FIXTURES
from tiny_model import weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import HARDWARE, SOFTWARE
from py_rwkv.native import open_model

KINDS = ("numpy", "software", "hardware")


def device(kind: str) -> Any:
    return NumpyDevice() if kind == "numpy" else WgpuDevice(tuning=SOFTWARE if kind == "software" else HARDWARE)


SOME = ("two_heads", "three_heads", "small_heads")  # the barrier flavour is slow on a software adapter


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in CASES if n != "long" for k in KINDS if k != "hardware" or n in SOME])
def test_logits_at_every_position(name: str, kind: str) -> None:
    case = load_case(name)
    engine = asyncio.run(engine_of(case.weights, device(kind)))
    every = asyncio.run(logits_of(engine, list(case.tokens), every=True))
    assert case.error(every) < 1e-4
    assert (every.argmax(1) == case.argmax).all()


@pytest.mark.parametrize("kind", KINDS)
def test_any_split_of_a_prompt_gives_the_same_logits_and_state(kind: str) -> None:
    case = load_case("long")
    tokens = [int(t) for t in case.tokens]
    engine = asyncio.run(engine_of(case.weights, device(kind)))
    session = engine.session()

    async def fed(cuts: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        session.reset()
        for a, b in zip([0, *cuts], [*cuts, len(tokens)], strict=True):
            candidates = await session.prefill(tokens[a:b])
        state = await engine.device.read_state(session.slot)
        return np.array(candidates.logits), {name: np.frombuffer(data, np.float32) for name, data in state.items()}

    for cuts in ([], [1], [199], [32, 64, 96], [7, 8, 9, 100], list(range(1, 200, 13))):
        logits, state = asyncio.run(fed(cuts))
        if not cuts:
            first, first_state = logits, state
        assert np.abs(logits - first).max() < 1e-4
        assert all(np.abs(state[n] - first_state[n]).max() < 1e-4 for n in state)
    layers = range(engine.config.layers)
    for kind_of_state in ("att_prev", "wkv", "ffn_prev"):
        found = np.array([first_state[f"state.{i}.{kind_of_state}"] for i in layers]).reshape(case.state[kind_of_state].shape)
        assert np.abs(found - case.state[kind_of_state]).max() < 1e-3
    assert case.error(asyncio.run(logits_of(engine, tokens))[None], positions=slice(-1, None)) < 1e-4


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("strategy", ["f32", "f16", "int8", "int8, head=f16"])
def test_devices_agree_on_odd_sizes(kind: str, strategy: str) -> None:
    """A width that is no multiple of 16, odd low ranks, an odd vocabulary."""
    config = Config("7", 2, 40, 5, 8, 136, 77, {"w": 21, "a": 5, "v": 7, "g": 33})
    made = {name: w * np.float32(0.2) for name, w in weights(config).items()}
    tokens = [3, 76, 0, 41, 41, 12]
    expected = asyncio.run(logits_of(asyncio.run(engine_of(made, device("numpy"), strategy)), tokens, every=True))
    found = asyncio.run(logits_of(asyncio.run(engine_of(made, device(kind), strategy)), tokens, every=True))
    assert np.abs(found - expected).max() < 1e-3 * (1 + np.abs(expected).max())


def test_an_odd_width_is_right_and_not_only_alike() -> None:
    """Zero-padding channels to a multiple of 16 must not change anything: the padded head adds nothing."""
    small = Config("7", 1, 40, 5, 8, 64, 50, {"w": 16, "a": 16, "v": 16, "g": 16})
    made = {name: w * np.float32(0.3) for name, w in weights(small).items()}
    logits = asyncio.run(logits_of(asyncio.run(engine_of(made, NumpyDevice())), [1, 2, 3]))
    assert np.abs(logits - plain_rwkv7(made, [1, 2, 3], heads=5)).max() < 1e-3


def plain_rwkv7(z: dict[str, np.ndarray], tokens: list[int], heads: int) -> np.ndarray:
    """One layer, straight from the equations, f64."""
    w = {n: v.astype(np.float64).squeeze() for n, v in z.items()}
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731

    def norm(x: np.ndarray, name: str, eps: float = 1e-5, groups: int = 1) -> np.ndarray:
        g = x.reshape(groups, -1)
        g = (g - g.mean(1, keepdims=True)) / np.sqrt(g.var(1, keepdims=True) + eps)
        return g.reshape(-1) * w[f"{name}.weight"] + w[f"{name}.bias"]

    c = w["emb.weight"].shape[1]
    att_prev, ffn_prev, s, b = np.zeros(c), np.zeros(c), np.zeros((heads, c // heads, c // heads)), "blocks.0."
    for token in tokens:
        x = norm(w["emb.weight"][token], b + "ln0")
        h = norm(x, b + "ln1")
        xr, xw, xk, xv, xa, xg = (h + (att_prev - h) * w[f"{b}att.x_{n}"] for n in "rwkvag")
        att_prev = h
        a_ = b + "att."
        r, k, v = w[a_ + "receptance.weight"] @ xr, w[a_ + "key.weight"] @ xk, w[a_ + "value.weight"] @ xv
        decay = np.exp(-np.exp(-0.5) * sigmoid(w[a_ + "w0"] + np.tanh(xw @ w[a_ + "w1"]) @ w[a_ + "w2"]))
        a = sigmoid(w[a_ + "a0"] + xa @ w[a_ + "a1"] @ w[a_ + "a2"])
        g = sigmoid(xg @ w[a_ + "g1"]) @ w[a_ + "g2"]
        kk = (k * w[a_ + "k_k"]).reshape(heads, -1)
        kk /= np.maximum(np.linalg.norm(kk, axis=1, keepdims=True), 1e-12)
        k = k * (1 + (a - 1) * w[a_ + "k_a"])
        split = lambda t: t.reshape(heads, -1)  # noqa: E731
        sa = -np.einsum("hij,hj->hi", s, kk)
        s = s * split(decay)[:, None, :] + sa[:, :, None] * (kk * split(a))[:, None, :] + split(v)[:, :, None] * split(k)[:, None, :]
        y = norm(np.einsum("hij,hj->hi", s, split(r)).reshape(-1), a_ + "ln_x", 64e-5, heads)
        y += ((split(r) * split(k) * w[a_ + "r_k"]).sum(1, keepdims=True) * split(v)).reshape(-1)
        x = x + w[a_ + "output.weight"] @ (y * g)
        h = norm(x, b + "ln2")
        x = x + w[b + "ffn.value.weight"] @ np.maximum(w[b + "ffn.key.weight"] @ (h + (ffn_prev - h) * w[b + "ffn.x_k"]), 0) ** 2
        ffn_prev = h
    out: np.ndarray = w["head.weight"] @ norm(x, "ln_out")
    return out


@pytest.mark.skipif(not FIXTURES.exists(), reason="needs ../shared; tests/golden has this project's own cases")
@pytest.mark.parametrize("kind", KINDS)
def test_rwkv_cpp_s_tiny_model(kind: str) -> None:
    async def run() -> np.ndarray:
        return await logits_of(await open_model(FIXTURES / "v7.pth", device(kind), quantization="f32"), [34, 105, 110])

    assert np.abs(asyncio.run(run()) - np.load(FIXTURES / "v7.expected.npy")).max() < 1e-4
