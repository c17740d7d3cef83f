"""Makes tests/golden/*.npz: what the official `rwkv` package computes for the cases of tests/golden/cases.py.

    pip install torch==2.13.0 rwkv==0.8.32 numpy
    PYTHONPATH=tests python build_scripts/make_goldens.py

Every case is also computed by the float64 implementation below, written from the formulas; the files are written only if both agree.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from golden.cases import CASES, HERE, Spec, checksum, logsumexp
from golden.random_model import F32, make
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Result = tuple[F64, dict[str, F64]]  # logits [T, V], state as in golden.cases
TOLERANCE = 2e-5  # of the package, which calculates in f32


def sigmoid(x: F64) -> F64:
    y: F64 = 1 / (1 + np.exp(-x))
    return y


def normalized(x: F64, eps: float) -> F64:
    """Over the last axis: mean 0, variance 1."""
    y: F64 = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return y


def reference(weights: dict[str, F32], tokens: Sequence[int]) -> Result:
    """RWKV-7 in float64, token by token (arXiv 2503.14456 §4)."""
    z = {name: w.astype(np.float64).squeeze() for name, w in weights.items()}
    H, N = weights["blocks.0.att.r_k"].shape
    C, layers = H * N, 1 + max(int(name.split(".")[1]) for name in z if name.startswith("blocks."))
    att_prev, ffn_prev, S = np.zeros((layers, C)), np.zeros((layers, C)), np.zeros((layers, H, N, N))

    def layer_norm(x: F64, name: str) -> F64:
        y: F64 = normalized(x, 1e-5) * z[f"{name}.weight"] + z[f"{name}.bias"]
        return y

    def time_mix(i: int, h: F64, v_first: F64 | None) -> tuple[F64, F64]:
        p = {name.removeprefix(f"blocks.{i}.att."): w for name, w in z.items() if name.startswith(f"blocks.{i}.att.")}
        xr, xw, xk, xv, xa, xg = (h + (att_prev[i] - h) * p[f"x_{c}"] for c in "rwkvag")
        att_prev[i] = h
        r, k, v = p["receptance.weight"] @ xr, p["key.weight"] @ xk, p["value.weight"] @ xv
        w = np.exp(-np.exp(-0.5) * sigmoid(p["w0"] + np.tanh(xw @ p["w1"]) @ p["w2"]))
        a = sigmoid(p["a0"] + xa @ p["a1"] @ p["a2"])
        g = sigmoid(xg @ p["g1"]) @ p["g2"]
        kk = (k * p["k_k"]).reshape(H, N)
        kk = kk / np.maximum(np.linalg.norm(kk, axis=-1, keepdims=True), 1e-12)
        k = k * (1 + (a - 1) * p["k_a"])
        if v_first is None:
            v_first = v
        else:
            v = v + (v_first - v) * sigmoid(p["v0"] + xv @ p["v1"] @ p["v2"])
        r, w, k, v, a = (x.reshape(H, N) for x in (r, w, k, v, a))
        for n in range(H):
            removed = -S[i, n] @ kk[n]
            S[i, n] = S[i, n] * w[n] + np.outer(removed, kk[n] * a[n]) + np.outer(v[n], k[n])
        y = normalized(np.einsum("hvk,hk->hv", S[i], r), 64e-5).reshape(C) * p["ln_x.weight"] + p["ln_x.bias"]
        bonus = (r * k * p["r_k"].reshape(H, N)).sum(-1, keepdims=True) * v
        return p["output.weight"] @ ((y + bonus.reshape(C)) * g), v_first

    def channel_mix(i: int, h: F64) -> F64:
        x = h + (ffn_prev[i] - h) * z[f"blocks.{i}.ffn.x_k"]
        ffn_prev[i] = h
        y: F64 = z[f"blocks.{i}.ffn.value.weight"] @ np.maximum(z[f"blocks.{i}.ffn.key.weight"] @ x, 0) ** 2
        return y

    logits = []
    for token in tokens:
        x, v_first = layer_norm(z["emb.weight"][token], "blocks.0.ln0"), None
        for i in range(layers):
            mixed, v_first = time_mix(i, layer_norm(x, f"blocks.{i}.ln1"), v_first)
            x = x + mixed
            x = x + channel_mix(i, layer_norm(x, f"blocks.{i}.ln2"))
        logits.append(z["head.weight"] @ layer_norm(x, "ln_out"))
    return np.array(logits), {"att_prev": att_prev, "wkv": S, "ffn_prev": ffn_prev}


def package(weights: dict[str, F32], tokens: Sequence[int]) -> Result:
    """The `rwkv` package in f32 on the CPU, token by token."""
    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0", RWKV_V7_ON="1")
    import torch
    from rwkv.model import RWKV

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        torch.save({name: torch.from_numpy(w) for name, w in weights.items()}, path.with_suffix(".pth"))
        net = RWKV(model=str(path), strategy="cpu fp32")
        state, logits = None, []
        for token in tokens:
            row, state = net.forward([token], state)
            logits.append(row.double().numpy())
    per_layer = [np.array([s.double().numpy() for s in (state or [])[kind::3]]) for kind in range(3)]
    return np.array(logits), dict(zip(("att_prev", "wkv", "ffn_prev"), per_layer, strict=True))


def kept_columns(spec: Spec) -> NDArray[np.int64]:
    """All, or that many spread over the vocabulary, with both ends."""
    vocab = spec.shape.vocab
    return np.arange(vocab) if spec.columns is None else np.linspace(0, vocab - 1, spec.columns).astype(np.int64)


def main() -> None:
    for name, spec in CASES.items():
        weights, tokens = make(spec.shape), spec.tokens()
        (logits, state), (exact_logits, exact_state) = package(weights, tokens), reference(weights, tokens)
        errors = {"logits": np.abs(logits - exact_logits).max(), **{k: np.abs(state[k] - exact_state[k]).max() for k in state}}
        columns = kept_columns(spec)
        numbers = {"logits": logits[:, columns], "logsumexp": logsumexp(logits), **state}
        stored = {key: value.astype(np.float32) for key, value in numbers.items()}
        path = HERE / f"{name}.npz"
        print(f"{name:12} {path.name}: largest errors", {key: float(f"{error:.1e}") for key, error in errors.items()}, file=sys.stderr)
        if max(errors.values()) > TOLERANCE:
            raise SystemExit(f"{name}: the package and the float64 implementation differ")
        np.savez_compressed(path, columns=columns, argmax=logits.argmax(-1), checksum=checksum(weights), **stored)


if __name__ == "__main__":
    main()
