"""One model on one device: how fast it reads and writes text, in numbers a machine can read. Times are medians over rounds; the first round warms up.

Runs natively and in the page; imports neither numpy nor what only one of them has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import median
from typing import TYPE_CHECKING, Any

from py_rwkv import __version__
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import never
from py_rwkv.runtime.sampling import Sampler, Sampling

if TYPE_CHECKING:
    from py_rwkv.bench.ceiling import Ceiling
    from py_rwkv.bench.peer import Peer
    from py_rwkv.runtime.engine import Engine
    from py_rwkv.runtime.session import Session

NUMBER_MOST = {"prefill": 1 << 16, "decode": 1 << 16, "repeat": 100, "batch": 128, "context": 1 << 20}
GREEDY = Sampling(temperature=0, presence_penalty=0, frequency_penalty=0, seed=0)
Cancel = Callable[[], bool]
Event = Callable[[str, Any], None]  # a part of the report that is ready: its key and value


@dataclass(frozen=True)
class Plan:
    """What to measure: prompt and answer length in tokens, rounds, further prompt lengths, batch sizes, and context lengths at which decoding is measured again."""

    prefill: int = 128
    decode: int = 64
    repeat: int = 3
    batches: tuple[int, ...] = (1,)
    contexts: tuple[int, ...] = ()
    prefills: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lists = {
            "prefill": (self.prefill, *self.prefills),
            "decode": (self.decode,),
            "repeat": (self.repeat,),
            "batch": self.batches,
            "context": self.contexts,
        }
        for name, values in lists.items():
            for value in values:
                if type(value) is not int or not 1 <= value <= NUMBER_MOST[name]:
                    raise RwkvError("bad-setting", name=name, expected=f"a whole number from 1 to {NUMBER_MOST[name]}", found=value)

    @property
    def slots(self) -> int:
        return max(4, *self.batches)


def plan_of(asked: Mapping[str, Any]) -> Plan:
    """From JSON: keys are the fields of Plan, others and wrong values are a `bad-setting`."""
    known = {f.name for f in fields(Plan)}
    if strange := sorted(set(asked) - known):
        raise RwkvError("bad-setting", name="plan", expected=" | ".join(sorted(known)), found=", ".join(strange)[:80])
    plan: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    return Plan(**plan)


@dataclass
class Samples:
    """Seconds: of each prefill, of each decoded token round by round, and so of each token that the device drew."""

    prefill: list[float] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    draws: list[list[float]] = field(default_factory=list)

    def add(self, prefill: float, steps: list[float], draws: Sequence[float] = ()) -> None:
        self.prefill.append(prefill)
        self.rounds.append(steps)
        if draws:
            self.draws.append(list(draws))

    def figures(self, prompt: int) -> dict[str, Any]:
        """Rates of the median round; percentiles over all tokens."""
        figures = {
            "prompt_tokens": prompt,
            "prefill_tok_s": prompt / median(self.prefill),
            "first_token_ms": median(self.prefill) * 1e3,
            "decode_tok_s": 1 / median(sum(r) / len(r) for r in self.rounds),
            "decode_ms": spread([s for r in self.rounds for s in r]),
        }
        return figures | ({"draw_tok_s": 1 / median(sum(r) / len(r) for r in self.draws)} if self.draws else {})


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """ms: p50, p99, min."""
    ranked = sorted(seconds)
    return {f"p{p}": ranked[min(len(ranked) - 1, len(ranked) * p // 100)] * 1e3 for p in (50, 99)} | {"min": ranked[0] * 1e3}


def prompt(length: int, vocab: int) -> list[int]:
    """Token ids that repeat late and touch much of the table."""
    return [(7919 * i * i + 13 * i + 3) % vocab for i in range(length)]


async def decode(session: Session, count: int, token: int = 0, cancel: Cancel = never) -> list[float]:
    """Feed `count` tokens one by one, each the best after the one before it; the seconds of each. RwkvError `cancelled`."""
    seconds = []
    for _ in range(count):
        check(cancel)
        start = time.perf_counter()
        token = (await session.step(token)).ids[0]
        seconds.append(time.perf_counter() - start)
    return seconds


async def draw(session: Session, count: int, token: int = 0, cancel: Cancel = never) -> list[float]:
    """The same by the device, several tokens a submit, as a chat goes on: each token's part of its submit. [] where the device cannot."""
    if not session.drawing(Sampler(GREEDY, session.engine.config.vocab), (), count):
        return []
    seconds: list[float] = []
    while len(seconds) < count:
        check(cancel)
        start = time.perf_counter()
        made = await session.draw(token, len(seconds), count - len(seconds))
        seconds += [(time.perf_counter() - start) / len(made)] * len(made)
        token = made[-1][0]
    return seconds


def check(cancel: Cancel) -> None:
    if cancel():
        raise RwkvError("cancelled")


async def alone(engine: Engine, plan: Plan, peer: Peer | None = None, cancel: Cancel = never) -> tuple[Samples, Samples]:
    """One session, and in turn with it the peer: (ours, the peer's). Round 0 of both is dropped."""
    ours, theirs, tokens = Samples(), Samples(), prompt(plan.prefill, engine.config.vocab)
    session = engine.session()
    try:
        for i in range(plan.repeat + 1):
            session.reset()
            start = time.perf_counter()
            best = (await session.prefill(tokens, cancel)).ids[0]
            seconds, count = time.perf_counter() - start, plan.decode if i else 2
            steps, draws = await decode(session, count, best, cancel), await draw(session, count, best, cancel)
            if i:
                ours.add(seconds, steps, draws)
            if peer:
                answer = peer.round(tokens, count)
                if i:
                    theirs.add(answer["prefill"], answer["steps"])
    finally:
        session.close()
    return ours, theirs


async def prefills(engine: Engine, lengths: Sequence[int], repeat: int, cancel: Cancel = never) -> list[dict[str, Any]]:
    """Prompts of these lengths from a cleared state until the candidates of the first answer token."""
    session, out = engine.session(), []
    try:
        for length in lengths:
            tokens, seconds = prompt(length, engine.config.vocab), []
            for _ in range(repeat + 1):
                session.reset()
                start = time.perf_counter()
                await session.prefill(tokens, cancel)
                seconds.append(time.perf_counter() - start)
            took = median(seconds[1:])
            out.append({"prompt_tokens": length, "prefill_tok_s": length / took, "first_token_ms": took * 1e3})
        return out
    finally:
        session.close()


async def batch(engine: Engine, size: int, steps: int, repeat: int, cancel: Cancel = never) -> dict[str, Any]:
    """`size` sessions decoding side by side; the scheduler puts them into the same steps."""
    sessions: list[Session] = []
    try:
        sessions += (engine.session() for _ in range(size))
        totals = []
        for i in range(repeat + 1):
            start = time.perf_counter()
            await asyncio.gather(*(decode(s, steps if i else 1, cancel=cancel) for s in sessions))
            totals.append((time.perf_counter() - start) / steps)
        step = median(totals[1:])
        return {"batch": size, "step_ms": step * 1e3, "tok_s": size / step}
    finally:
        for s in sessions:
            s.close()


async def contexts(engine: Engine, lengths: Sequence[int], steps: int, cancel: Cancel = never) -> list[dict[str, Any]]:
    """Decoding after so many tokens, in turn with a session that has seen few: an RNN's token costs the same at any length, whatever else the machine does."""
    session, fresh, out = engine.session(), engine.session(), []
    try:
        for length in sorted(lengths):
            row: dict[str, Any] = {"context": length}
            if (more := length - len(session.tokens)) > 0:
                start = time.perf_counter()
                await session.prefill(prompt(more, engine.config.vocab), cancel)
                row["prefill_tok_s"] = more / (time.perf_counter() - start)
            turns = [(await decode(fresh, 1, cancel=cancel), await decode(session, 1, cancel=cancel)) for _ in range(steps)]
            few, many = ([seconds for (seconds,) in column] for column in zip(*turns, strict=True))
            out.append(
                row
                | {
                    "decode_tok_s": 1 / median(many),
                    "decode_ms": spread(many),
                    "to_fresh": median(b / a for a, b in zip(few, many, strict=True)),
                }
            )
        return out
    finally:
        session.close()
        fresh.close()


def ignored(name: str, value: Any) -> None:
    """Nobody wants parts."""


async def bench(
    engine: Engine,
    plan: Plan,
    ceiling: Ceiling | None = None,
    peer: Peer | None = None,
    event: Event = ignored,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """Everything about a loaded model that `py-rwkv bench` prints, as plain JSON data (docs/benchmarks.md says what each key is).

    event: told each part that takes time as it is done. RwkvError `cancelled` when `cancel()` turns true, `no-free-slot` for a batch with more sessions than the
    engine has left.
    """
    info = engine.info()
    program = info["program"]
    report: dict[str, Any] = {
        "adapter": engine.device.adapter,
        "device": engine.device.kind,
        "py_rwkv": __version__,
        "model": info["model"]["name"],
        "version": engine.config.version,
        "shape": f"{engine.config.layers}x{engine.config.embd}",
        "vocab": engine.config.vocab,
        "quant": info["model"]["quantization"],
        "decode_tokens": plan.decode,
        "gpu_bytes": info["memory"]["gpuBytes"],
        "memory": info["memory"],
        "dispatches_per_token": program["dispatches"],
        "dispatches_per_layer": program["dispatchesPerLayer"],
        "bytes_per_token": program["bytesPerToken"],
    }
    event("model", report)
    ours, theirs = await alone(engine, plan, peer, cancel)
    figures = ours.figures(plan.prefill)
    report |= figures
    if ceiling:
        figures |= {"limits": ceiling.limits(program["bytesPerToken"], program["dispatches"])}
        figures |= {name: getattr(ceiling, name) for name in ("copy_gb_s", "read_gb_s", "dispatch_us", "roundtrip_us")}
        best = max(report["decode_tok_s"], report.get("draw_tok_s", 0))
        figures["of_limits"] = {name.removesuffix("_tok_s"): best / limit for name, limit in figures["limits"].items()}
        figures["of_limits"]["copy"] = best * program["bytesPerToken"] / (ceiling.copy_gb_s * 1e9)
    if peer:
        against = peer.facts() | theirs.figures(plan.prefill)
        against["ratios"] = {name: report[f"{name}_tok_s"] / against[f"{name}_tok_s"] for name in ("decode", "prefill")}
        if "draw_tok_s" in report:
            against["ratios"]["draw"] = report["draw_tok_s"] / against["decode_tok_s"]
        figures["against"] = against
    report |= figures
    event("alone", figures)
    if plan.prefills:
        report["prefills"] = await prefills(engine, plan.prefills, plan.repeat, cancel)
        event("prefills", report["prefills"])
    if plan.batches != (1,):
        report["batches"] = []
        for n in plan.batches:
            report["batches"].append(await batch(engine, n, max(2, plan.decode // 4), plan.repeat, cancel))
            event("batches", report["batches"])
    if plan.contexts:
        report["contexts"] = await contexts(engine, plan.contexts, max(4, plan.decode // 2), cancel)
        event("contexts", report["contexts"])
    return report
