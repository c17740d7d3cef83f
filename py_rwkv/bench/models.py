"""Models to measure: random ones of a given shape, and any model as the file web-rwkv reads. Weights mean nothing here, only their sizes and spread."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.export import Model, Outgoing, open_export, write_safetensors
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Config, Expected, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

RANDOM = re.compile(r"random:(4|5\.2|6|7):(\d{1,4})x(\d{1,5})(?::(\d{1,7}))?")
EXPECTED = "random:VERSION:LAYERSxWIDTH[:VOCABULARY] with VERSION 4, 5.2, 6 or 7 and WIDTH a multiple of 64"
PERIOD = 1048573  # random numbers made per tensor, a prime: longer tensors repeat them without repeating a row


def is_random(model: str) -> bool:
    return model.startswith("random:")


def random_config(text: str) -> Config:
    """`random:6:12x768` → the shape official models of that size have. RwkvError `bad-setting`."""
    found = RANDOM.fullmatch(text)
    layers, embd, vocab = (int(n) if n else 65536 for n in found.groups()[1:]) if found else (0, 0, 0)
    if not found or embd % 64 or not embd or not layers:
        raise RwkvError("bad-setting", name="MODEL", expected=EXPECTED, found=text[:80])
    version = found[1]
    heads = 1 if version == "4" else embd // 64
    ffn = 4 * embd if version in "47" else int(3.5 * embd) // 32 * 32
    return Config(version, layers, embd, heads, embd // heads, ffn, vocab, ranks_of(version, embd))


def ranks_of(version: str, embd: int) -> dict[str, int]:
    """The low ranks that the official trainers choose for a width (RWKV-LM, RWKV-v7 src/model.py; V6: 32 and 64, twice that from 4096 on)."""
    if version == "6":
        return {"mix": 32, "decay": 64} if embd < 4096 else {"mix": 64, "decay": 128}
    if version != "7":
        return {}

    def of(factor: float, power: float) -> int:
        return max(32, round(factor * float(embd**power) / 32) * 32)

    return {"w": of(1.8, 0.5), "a": of(1.8, 0.5), "v": of(1.3, 0.5), "g": of(0.6, 0.8)}


def random_model(config: Config) -> Model:
    """f16 tensors under official names, made when they are written, of the size that trained ones have: activations stay finite."""

    def outgoing(index: int, t: Expected) -> Outgoing:
        return Outgoing(t.name, "F16", t.shape, lambda: [_values(t, index).astype("<f2").tobytes()])

    name = f"random RWKV-{config.version} {config.layers}x{config.embd}"
    return Model(name, config, [outgoing(i, t) for i, t in enumerate(tensors(config))])


def _values(t: Expected, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    size, last = math.prod(t.shape), t.name.rpartition(".")[2]
    if t.kind == "vector" and re.search(r"\.(ln\w*|ln_out)\.weight$|^ln_out\.weight", t.name):
        low, high = 0.8, 1.2
    elif last in ("time_decay", "w0"):
        low, high = -5.0, -1.0
    elif last.startswith(("time_m", "x_")) and t.kind == "vector":
        low, high = 0.0, 1.0
    elif t.kind == "vector":
        low, high = -0.1, 0.1
    else:
        spread = (
            0.3
            if last == "weight" and t.name.startswith("emb")
            else 0.7 / math.sqrt(t.shape[-2] if t.kind[:6] == "factor" else t.shape[-1])
        )
        some = rng.standard_normal(min(size, PERIOD), np.float32) * np.float32(spread)
        return np.resize(some, t.shape)
    return rng.uniform(low, high, t.shape).astype(np.float32)


@contextmanager
def materialized(model: str) -> Iterator[str]:
    """A path for MODEL: a random one is written to a temporary file (official names, f16), anything else is named already."""
    if not is_random(model):
        yield model
        return
    made = random_model(random_config(model))
    with tempfile.TemporaryDirectory(prefix="py_rwkv-") as folder:
        path = Path(folder) / f"{made.name.replace(' ', '-')}.safetensors"
        write_safetensors(path, made.tensors, {})
        yield str(path)


# ---- web-rwkv's layout: what its converter makes of an official checkpoint -----------------------------------------------------------------

TRANSPOSED = re.compile(r"\.att\.(time_mix_w[12]|time_decay_w[12]|time_state|[wavg][12])$")
BROADCAST = re.compile(r"\.att\.(time_decay|time_first)$")


def write_web_rwkv(model: str, path: str | os.PathLike[str]) -> int:
    """Write MODEL (as `load_model` takes it) as web-rwkv's `.st`; returns its size in bytes."""
    made = open_export(model)
    return write_safetensors(path, [_translated(t, made.config) for t in made.tensors], {})


def _translated(t: Outgoing, config: Config) -> Outgoing:
    """Names lowered and renamed, factors transposed, vectors flat, everything f16."""
    name = t.name.replace("time_faaaa", "time_first").replace("time_maa", "time_mix")
    turn = bool(TRANSPOSED.search(name)) and len(t.shape) > 1
    spread = bool(BROADCAST.search(name)) and len(t.shape) == 1 and config.version.startswith("5")
    flat = t.shape if len(t.shape) < 3 else t.shape[-1:]  # [1, 1, C]
    shape = (*t.shape[:-2], t.shape[-1], t.shape[-2]) if turn else (config.heads, config.head_size) if spread else flat

    def blocks() -> Iterator[bytes]:
        if not turn and not spread:
            for block in t.blocks():
                yield _numbers(block, t.dtype).astype("<f2").tobytes()
            return
        values = _numbers(b"".join(t.blocks()), t.dtype).reshape(t.shape)
        values = values.swapaxes(-1, -2) if turn else np.repeat(values[:, None], config.head_size, 1)
        yield np.ascontiguousarray(values).astype("<f2").tobytes()

    return Outgoing(name, "F16", shape, blocks)


def _numbers(data: bytes, dtype: str) -> Array:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).astype("<f4")


PEER_BITS: Mapping[str, float] = {"f16": 16, "int8": 8.25, "nf4": 4.25}
QUANTIZED = re.compile(r"blocks\.\d+\.(att\.(key|value|receptance|gate|output)|ffn\.(key|value|receptance))\.weight")


def peer_bytes_per_token(config: Config, quant: str) -> int:
    """Weight bytes web-rwkv reads to decode a token: f16, but for the projections of each layer; one row of the embedding (its source, 0.10.20)."""
    bits = 0.0
    for t in tensors(config):
        if t.name == "emb.weight":
            bits += 16 * config.embd
        elif t.kind != "vector":
            bits += math.prod(t.shape) * (PEER_BITS[quant] if QUANTIZED.fullmatch(t.name) else 16)
    return int(bits / 8)
