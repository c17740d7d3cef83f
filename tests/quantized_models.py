"""Models whose matrices went through a format and back, and how far their logits are from the original's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from models import engine_of, logits_of

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.quant import ENCODINGS

Weights = dict[str, np.ndarray]
Format = Callable[[np.ndarray], np.ndarray]  # a matrix → what is left of it


def ours(name: str) -> Format:
    e = ENCODINGS[name]

    def format_(w: np.ndarray) -> np.ndarray:
        padded = np.zeros((len(w), -(-w.shape[1] // 16) * 16), "f4")
        padded[:, : w.shape[1]] = w
        return e.decode(e.encode(padded))[:, : w.shape[1]]

    return format_


def layer_matrices(weights: Weights) -> list[str]:
    """What web-rwkv quantizes: the projections of both mixes, not the low-rank factors, the embedding, the head."""
    return [
        name for name in weights if name.startswith("blocks.") and (".att." in name or ".ffn." in name) and name.endswith((*PROJECTIONS,))
    ]


PROJECTIONS = [f"{name}.weight" for name in ("receptance", "key", "value", "gate", "output")]


def through(weights: Weights, format_: Format) -> Weights:
    return {**weights, **{name: format_(weights[name].astype("f4")) for name in layer_matrices(weights)}}


def relative_rmse(before: Weights, after: Weights, names: list[str]) -> float:
    """Root of the squared error of these matrices over their squares."""
    error = sum(float(np.square(after[n].astype("f8") - before[n]).sum()) for n in names)
    return float(np.sqrt(error / sum(float(np.square(before[n].astype("f8")).sum()) for n in names)))


def heavy_tailed(weights: Weights, degrees: float, seed: int = 0) -> Weights:
    """Every matrix drawn from Student's t with so many degrees of freedom, as large as it was (root mean square)."""
    rng = np.random.default_rng(seed)
    return {name: f16(_student(rng, w, degrees)) if w.ndim == 2 and not name.endswith("r_k") else w for name, w in weights.items()}


def _student(rng: np.random.Generator, w: np.ndarray, degrees: float) -> np.ndarray:
    t = rng.standard_t(degrees, w.shape)
    return t * np.sqrt(np.square(w).mean() / np.square(t).mean())


def f16(w: np.ndarray) -> np.ndarray:
    return w.astype("f2").astype("f4")


async def log_probs(weights: Weights, texts: list[list[int]], strategy: str = "f32") -> list[np.ndarray]:
    """ln p of every token after every token of every text: f64 [T, V] each (differences of 1e-7 matter)."""
    engine = await engine_of(weights, NumpyDevice(), strategy, slots=1)
    out = [log_softmax(await logits_of(engine, tokens, every=True)) for tokens in texts]
    engine.close()
    return out


def log_softmax(logits: np.ndarray) -> np.ndarray:
    x = logits.astype("f8") - logits.max(-1, keepdims=True)
    x -= np.log(np.exp(x).sum(-1, keepdims=True))
    return x


def divergence(p: list[np.ndarray], q: list[np.ndarray]) -> float:
    """Mean KL(p ‖ q) over all positions, in nats."""
    each: list[Any] = [(np.exp(a) * (a - b)).sum(-1) for a, b in zip(p, q, strict=True)]
    return float(np.concatenate(each).mean())


def perplexity(p: list[np.ndarray], texts: list[list[int]]) -> float:
    """Of every token but the first of each text."""
    lost = [-a[np.arange(len(t) - 1), t[1:]] for a, t in zip(p, texts, strict=True)]
    return float(np.exp(np.concatenate(lost).mean()))
