"""One model on one device: how fast it reads and writes text, in numbers a machine can read. Times are medians over rounds; the first round warms up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from py_rwkv import __version__
from py_rwkv.bench.ceiling import Ceiling
from py_rwkv.bench.peer import Peer
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.session import Session

NUMBER_MOST = {"prefill": 1 << 16, "decode": 1 << 16, "repeat": 100, "batch": 128, "context": 1 << 20}


@dataclass(frozen=True)
class Plan:
    """What to measure: prompt and answer length in tokens, rounds, batch sizes, and context lengths at which decoding is measured again."""

    prefill: int = 128
    decode: int = 64
    repeat: int = 3
    batches: tuple[int, ...] = (1,)
    contexts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lists = {
            "prefill": (self.prefill,),
            "decode": (self.decode,),
            "repeat": (self.repeat,),
            "batch": self.batches,
            "context": self.contexts,
        }
        for name, values in lists.items():
            for value in values:
                if not 1 <= value <= NUMBER_MOST[name]:
                    raise RwkvError("bad-setting", name=f"--{name}", expected=f"a whole number from 1 to {NUMBER_MOST[name]}", found=value)

    @property
    def slots(self) -> int:
        return max(4, *self.batches)


@dataclass
class Samples:
    """Seconds: of each prefill, and of each decoded token, round by round."""

    prefill: list[float] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)

    def add(self, prefill: float, steps: list[float]) -> None:
        self.prefill.append(prefill)
        self.rounds.append(steps)

    def figures(self, prompt: int) -> dict[str, Any]:
        """Rates of the median round; percentiles over all tokens."""
        steps = sorted(s for r in self.rounds for s in r)
        return {
            "prompt_tokens": prompt,
            "prefill_tok_s": prompt / median(self.prefill),
            "first_token_ms": median(self.prefill) * 1e3,
            "decode_tok_s": 1 / median(sum(r) / len(r) for r in self.rounds),
            "decode_ms": {f"p{p}": steps[min(len(steps) - 1, len(steps) * p // 100)] * 1e3 for p in (50, 99)} | {"min": steps[0] * 1e3},
        }


def prompt(length: int, vocab: int) -> list[int]:
    """Token ids that repeat late and touch much of the table."""
    return [(7919 * i * i + 13 * i + 3) % vocab for i in range(length)]


async def decode(session: Session, count: int, token: int = 0) -> list[float]:
    """Feed `count` tokens one by one, each the best after the one before it; the seconds of each."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        token = (await session.step(token)).ids[0]
        seconds.append(time.perf_counter() - start)
    return seconds


async def alone(engine: Engine, plan: Plan, peer: Peer | None = None) -> tuple[Samples, Samples]:
    """One session, and in turn with it the peer: (ours, the peer's). Round 0 of both is dropped."""
    ours, theirs, tokens = Samples(), Samples(), prompt(plan.prefill, engine.config.vocab)
    session = engine.session()
    try:
        for i in range(plan.repeat + 1):
            session.reset()
            start = time.perf_counter()
            best = (await session.prefill(tokens)).ids[0]
            seconds = time.perf_counter() - start
            steps = await decode(session, plan.decode if i else 2, best)
            if i:
                ours.add(seconds, steps)
            if peer:
                answer = peer.round(tokens, plan.decode if i else 2)
                if i:
                    theirs.add(answer["prefill"], answer["steps"])
    finally:
        session.close()
    return ours, theirs


async def batch(engine: Engine, size: int, steps: int, repeat: int) -> dict[str, Any]:
    """`size` sessions decoding side by side; the scheduler puts them into the same steps."""
    sessions = [engine.session() for _ in range(size)]
    try:
        totals = []
        for i in range(repeat + 1):
            start = time.perf_counter()
            await asyncio.gather(*(decode(s, steps if i else 1) for s in sessions))
            totals.append((time.perf_counter() - start) / steps)
        step = median(totals[1:])
        return {"batch": size, "step_ms": step * 1e3, "tok_s": size / step}
    finally:
        for s in sessions:
            s.close()


async def contexts(engine: Engine, lengths: Sequence[int], steps: int) -> list[dict[str, Any]]:
    """Decoding after so many tokens: an RNN's token costs the same at any length."""
    session, out = engine.session(), []
    try:
        for length in sorted(lengths):
            if (more := length - len(session.tokens)) > 0:
                await session.prefill(prompt(more, engine.config.vocab))
            seconds = await decode(session, steps)
            out.append({"context": length, "decode_tok_s": 1 / median(seconds)})
        return out
    finally:
        session.close()


async def bench(engine: Engine, plan: Plan, ceiling: Ceiling | None = None, peer: Peer | None = None) -> dict[str, Any]:
    """Everything about a loaded model that `py-rwkv bench` prints, as plain JSON data (docs/benchmarks.md says what each key is)."""
    info = engine.info()
    program = info["program"]
    ours, theirs = await alone(engine, plan, peer)
    report: dict[str, Any] = {
        "adapter": engine.device.adapter,
        "device": engine.device.kind,
        "py_rwkv": __version__,
        "model": info["model"]["name"],
        "version": engine.config.version,
        "shape": f"{engine.config.layers}x{engine.config.embd}",
        "vocab": engine.config.vocab,
        "quant": info["model"]["quantization"],
        **ours.figures(plan.prefill),
        "decode_tokens": plan.decode,
        "gpu_bytes": info["memory"]["gpuBytes"],
        "memory": info["memory"],
        "dispatches_per_token": program["dispatches"],
        "dispatches_per_layer": program["dispatchesPerLayer"],
        "bytes_per_token": program["bytesPerToken"],
    }
    if ceiling:
        limits = ceiling.limits(program["bytesPerToken"], program["dispatches"])
        report |= {name: getattr(ceiling, name) for name in ("copy_gb_s", "read_gb_s", "dispatch_us", "roundtrip_us")} | {"limits": limits}
        report["of_limits"] = {name.removesuffix("_tok_s"): report["decode_tok_s"] / limit for name, limit in limits.items()}
    if peer:
        against = peer.facts() | theirs.figures(plan.prefill)
        against["ratios"] = {name: report[f"{name}_tok_s"] / against[f"{name}_tok_s"] for name in ("decode", "prefill")}
        report["against"] = against
    if plan.batches != (1,):
        report["batches"] = [await batch(engine, n, max(2, plan.decode // 4), plan.repeat) for n in plan.batches]
    if plan.contexts:
        report["contexts"] = await contexts(engine, plan.contexts, max(4, plan.decode // 2))
    return report
