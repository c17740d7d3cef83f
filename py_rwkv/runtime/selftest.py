"""Does this adapter compute what it should? A tiny model with known logits, run in the forms that a real one is about to run in.

Its weights are bytes of SHAKE-128 read as each encoding reads them, so that no numpy is needed; embedding and head hold −1, 0 and 1 times a power of two, which are
the same numbers in every encoding. selftest.json has the logits that the numpy references make of it (build_scripts/make_selftest.py), in steps of 1 / STEP.
"""

from __future__ import annotations

import json
from array import array
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import shake_128
from math import exp, isfinite, log
from pathlib import Path
from struct import pack

from py_rwkv.checkpoint.layout import Packed, layout
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.models import emit
from py_rwkv.models.builder import Builder
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import Choice, Tuning
from py_rwkv.program import Program, Run, Step
from py_rwkv.quant import ENCODINGS, parse_strategy

STEP = 1000  # stored logits are whole numbers of 1 / STEP
TOLERANCE = 0.02  # the logits' spread is about 3; f32 in another order changes them by less than 0.0005
ROUGH = 0.3  # for forms that round activations
RANKS = {"7": {"w": 32, "a": 32, "v": 32, "g": 64}, "6": {"mix": 16, "decay": 32}}
# Which program, and its runs (slot, tokens, outputs): two sessions in one prefill, continued, then decoding alone and side by side. Five rows of logits.
STEPS: tuple[tuple[str, tuple[tuple[int, str, int], ...]], ...] = (
    ("prefill", ((0, "RWKV is an RNN", 0), (1, "once", 0))),
    ("prefill", ((0, " with", 1), (1, " more", 1))),
    ("decode", ((0, "t", 0),)),
    ("decode", ((0, "o", 1),)),
    ("decode", ((0, "k", 1), (1, "!", 1))),
)
ROWS = 5
EVERY = 9  # of the logits, this one is known: so all columns of a tile have their turn


@dataclass(frozen=True)
class Tensor:
    """A packed tensor with its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def config(version: str) -> Config:
    """Small, but wide enough for 16 lanes to go round, and with as many logits as real models' pipelines for topk want."""
    heads = 1 if version == "4" else 2
    return Config(version, 2, 128, heads, 128 // heads, 512, 512, RANKS.get(version, {}))


def model(version: str, encoding: str, emb: str, head: str) -> dict[str, Tensor]:
    """The packed tensors: `encoding` is that of the layers' matrices."""
    made: dict[str, Tensor] = {}
    for t in layout(config(version)):
        if t.kind == "vector":
            made[t.name] = Tensor("F32", (t.columns,), _vector(t).tobytes())
        elif t.name in ("emb.weight", "head.weight"):
            kind = emb if t.name.startswith("emb") else head
            made |= _stored(t, kind, _ternary(t, kind, 0 if t.name.startswith("emb") else -2))
        else:
            made |= _stored(t, encoding, {s: _random(t, encoding, s, n) for s, n in _sizes(t, encoding).items()})
    return made


def _bytes(name: str, n: int) -> bytes:
    return shake_128(name.encode()).digest(n)


def _vector(t: Packed) -> array[float]:
    low, high = _range(t.name)
    return array("f", [low + (high - low) * b / 255 for b in _bytes(t.name, t.columns)])


def _range(name: str) -> tuple[float, float]:
    """Where a vector's values lie: where those of trained models do."""
    last = name.split(".", 2)[-1]
    if last.endswith("weight"):
        return 0.8, 1.2  # gains
    if last.endswith(("bias", "r_k")):
        return -0.3, 0.3
    if last.endswith("time_decay"):
        return -4.0, 0.0
    if last.endswith("decay"):
        return 0.5, 0.99  # V5's, folded
    if last.endswith(("w0", "a0", "v0", "time_faaaa", "time_first")):
        return -1.5, 1.5
    return 0.1, 0.9  # token shift, k_k, k_a


def _sizes(t: Packed, encoding: str) -> dict[str, int]:
    items = {"F32": 4, "F16": 2}
    parts = ENCODINGS[encoding].layout(t.rows, t.columns)
    return {suffix: items.get(dtype, 1) * shape[0] * shape[1] for suffix, (dtype, shape) in parts.items()}


def _stored(t: Packed, encoding: str, parts: dict[str, bytes]) -> dict[str, Tensor]:
    shapes = ENCODINGS[encoding].layout(t.rows, t.columns)
    return {t.name + suffix: Tensor(*shapes[suffix], data) for suffix, data in parts.items()}


def _among(values: Iterable[int]) -> bytes:
    """A table for bytes.translate: any byte to one of the values."""
    chosen = list(values)
    return bytes(chosen[b % len(chosen)] for b in range(256))


# Numbers of about ± 0.1. f32 and f16: sign and exponent are limited, the rest may be anything.
_HIGH = {"f32": _among([0x3D, 0xBD]), "f16": _among([s | e << 2 | m for s in (0, 128) for e in (10, 11) for m in range(4)])}
_SCALES = {"int8": _among(range(101, 109)), "nf4": _among(range(101, 109)), "int4": _among(range(78, 86))}


def _random(t: Packed, encoding: str, suffix: str, n: int) -> bytes:
    raw = bytearray(_bytes(t.name + suffix, n))
    if suffix:
        every = 2 if encoding == "int4" else 1  # then zero points lie between
        raw[::every] = raw[::every].translate(_SCALES[encoding])
        if every == 2:
            raw[1::2] = raw[1::2].translate(_among(range(96, 145)))
    elif encoding in _HIGH:
        item = 4 if encoding == "f32" else 2
        raw[item - 1 :: item] = raw[item - 1 :: item].translate(_HIGH[encoding])
    elif encoding == "int8":
        raw = raw.replace(b"\x80", b"\x81")
    return bytes(raw)


def _ternary(t: Packed, encoding: str, exponent: int) -> dict[str, bytes]:
    """−1, 0, 1 times 2^exponent, the same in every encoding."""
    trits = _bytes(t.name, t.rows * t.columns).translate(_among(range(3)))
    if encoding in ("f32", "f16"):
        words = [pack("<f" if encoding == "f32" else "<e", n * 2.0**exponent) for n in (-1, 0, 1)]
        item = len(words[0])
        whole = bytearray(item * len(trits))
        for i in range(item):
            whole[i::item] = trits.translate(_among(word[i] for word in words))
        return {"": bytes(whole)}
    blocks, one = t.rows * -(-t.columns // 32), 8 * (16 + exponent)
    if encoding == "int8":
        return {".scale": bytes([one]) * blocks, "": trits.translate(_among([0x81, 0, 0x7F]))}
    q = trits.translate(_among([6, 7, 8] if encoding == "int4" else [0, 7, 15]))
    packed = bytearray(len(q) // 2)
    for i in range(4):
        low, high = q[i::8], q[i + 4 :: 8].translate(_among(16 * n % 256 for n in range(256)))
        packed[i::4] = (int.from_bytes(low) | int.from_bytes(high)).to_bytes(len(low))
    return {".scale": bytes([one, 7 * 16] if encoding == "int4" else [one]) * blocks, "": bytes(packed)}


async def rows(device: Device, choice: Choice, version: str, encoding: str, emb: str, head: str) -> list[array[float]]:
    """The logits the device makes, [ROWS][V], in memory that is given back. RwkvError `wrong-numerics` if its candidates are not their order."""
    tensors, facts, twin = model(version, encoding, emb, head), config(version), device.twin()
    try:
        programs = [
            _program(name, tuning, tensors, facts, device) for name, tuning in (("decode", choice.decode), ("prefill", choice.prefill))
        ]
        await twin.allocate(programs)
        for buffer in {name: b for p in programs for name, b in p.buffers.items()}.values():
            for part in buffer.parts:
                data = tensors[part.tensor].data
                twin.write(buffer.name, part.at, data[part.first * part.row_bytes : (part.first + part.rows) * part.row_bytes])
        await twin.compile(lambda done, total: None)
        found: list[array[float]] = []
        size = 4 * programs[0].buffers["candidates"].shape[1]
        for name, runs in STEPS:
            step = Step.of([Run(slot, [ord(c) % facts.vocab for c in text], outputs) for slot, text, outputs in runs])
            raw = await twin.run(name, step, "logits", 4 * facts.vocab * step.outputs) if step.outputs else await twin.run(name, step)
            logits = array("f", raw)
            made = [logits[i * facts.vocab : (i + 1) * facts.vocab] for i in range(step.outputs)]
            if made:
                candidates = memoryview(await twin.read("candidates", size * step.outputs))
                for i, row in enumerate(made):
                    _check_order(device.adapter, row, candidates[i * size : (i + 1) * size])
            found += made
        return found
    finally:
        twin.close()


def _program(name: str, tuning: Tuning, tensors: dict[str, Tensor], facts: Config, device: Device) -> Program:
    return emit(Builder(name, tensors, tuning=tuning, limits=device.limits, slots=2, max_outputs=2), facts, vocab_limit=facts.vocab)


def _check_order(adapter: str, row: array[float], raw: memoryview) -> None:
    """log Σ exp, and the best ids in their order (kernels/topk.py)."""
    count = len(raw) // 8 - 2
    ids, best = list(raw.cast("I")[4 : 4 + count]), raw.cast("f")[4 + count :]
    total = log(sum(map(exp, row))) if all(isfinite(x) and x < 80 for x in row) else 0.0
    ordered = sorted(range(len(row)), key=lambda i: (-row[i], i))[:count]
    if raw.cast("I")[1] != count or ids != ordered or list(best) != [row[i] for i in ids] or not abs(raw.cast("f")[0] - total) < TOLERANCE:
        raise RwkvError("wrong-numerics", adapter=adapter, what="topk", error=f"{abs(raw.cast('f')[0] - total):.3g}", allowed=TOLERANCE)


@cache
def _known() -> dict[str, str]:
    table: dict[str, str] = json.loads((Path(__file__).parent / "selftest.json").read_text("utf-8"))
    return table


def expected(version: str, encoding: str) -> list[float]:
    """Every EVERY-th logit of all rows, flat. 5.1 is 5.2 once it is packed."""
    numbers = array("h", b64decode(_known()[f"{version.replace('5.1', '5.2')} {encoding}"]))
    return [n / STEP for n in numbers]


async def check(device: Device, choice: Choice, version: str, encoding: str, emb: str, head: str) -> float:
    """Run the model; the largest error of its logits. RwkvError `wrong-numerics` if that is more than forms of this kind may make."""
    found = [x for row in await rows(device, choice, version, encoding, emb, head) for x in row[::EVERY]]
    error = max(abs(a - b) if isfinite(a) else float("inf") for a, b in zip(found, expected(version, encoding), strict=True))
    allowed = TOLERANCE if choice.decode.exact and choice.prefill.exact else ROUGH
    if not error <= allowed:
        raise RwkvError("wrong-numerics", adapter=device.adapter, what=f"RWKV-{version}, {encoding}", error=f"{error:.3g}", allowed=allowed)
    return error


def kinds(manifest: Manifest) -> list[tuple[str, str, str]]:
    """What has to be checked for a model: (layers' encoding, emb, head), once for each encoding that its layers use."""
    strategy = parse_strategy(manifest.quantization)
    emb, head = strategy.encoding("emb.weight"), strategy.encoding("head.weight")
    layers = range(manifest.config.layers)
    used = dict.fromkeys(strategy.encoding(f"blocks.{i}.{half}.weight") for i in layers for half in ("att", "ffn"))
    return [(encoding, emb, head) for encoding in used]
