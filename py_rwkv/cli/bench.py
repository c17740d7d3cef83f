"""Measuring: bench."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from py_rwkv.bench import ceiling as ceilings
from py_rwkv.bench import models, peer
from py_rwkv.bench.measure import Plan, bench, prompt
from py_rwkv.bench.profile import profile
from py_rwkv.bench.timestamps import TimedDevice
from py_rwkv.checkpoint.convert import load_model
from py_rwkv.cli.base import Bar, Commands
from py_rwkv.native import _Ready, find_model, open_device, open_tuner
from py_rwkv.program import Run, Step
from py_rwkv.runtime.engine import Engine


def register(commands: Commands) -> None:
    c = commands.add("bench", run, f"Speed of a model, and what the adapter allows. MODEL may also be random: {models.EXPECTED}.")
    c.add_argument(
        "--prefill", type=numbers, default=(128,), metavar="N,N,…", help="length of the prompt (128); further ones are measured too"
    )
    c.add_argument("--decode", type=int, default=64, metavar="TOKENS", help="tokens decoded in a round (64)")
    c.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds; figures are those of the median one (3)")
    c.add_argument("--batch", type=numbers, default=(1,), metavar="N,N,…", help="also decode so many sessions side by side")
    c.add_argument("--context", type=numbers, default=(), metavar="N,N,…", help="also decode after so many tokens")
    c.add_argument("--kernels", action="store_true", help="also the time per kernel")
    c.add_argument("--no-limits", action="store_true", help="leave out the adapter's bandwidth and dispatch cost")
    c.add_argument("--against", choices=[peer.NAME], help="the same weights on the same adapter, in turns (V4, V5.1, V5.2, V6)")
    c.add_argument("--peer-quant", choices=list(models.PEER_BITS), help="what the peer runs; default: the nearest to --quant")
    c.add_argument("--peer-python", default=sys.executable, metavar="PATH", help="the Python that has the peer; default: this one")
    c.add_argument("--json", action="store_true")


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(","))


def run(args: argparse.Namespace) -> None:
    first, *more = args.prefill
    plan = Plan(first, args.decode, args.repeat, args.batch, args.context, tuple(more))
    with models.materialized(args.model) as path:
        report = asyncio.run(measured(args, plan, find_model(path)))
    print(json.dumps(report, indent=1) if args.json else table(report))


async def measured(args: argparse.Namespace, plan: Plan, path: str) -> dict[str, Any]:
    """Load, measure, and put the parts of the report together."""
    timings: dict[str, float] = {}
    with Bar() as bar:
        progress = timed(bar, timings)
        progress("convert", 0, 1, "")
        converting = lambda _, done, total: progress("convert", done, total, "bytes")  # noqa: E731
        manifest, shards = await load_model(path, strategy=args.quant, progress=converting)
        progress("convert", 1, 1, "")
        warn = lambda e: print(f"py-rwkv: {e.message} Running on the CPU with numpy.", file=sys.stderr)  # noqa: E731
        with contextlib.ExitStack() as stack:
            against = None
            if args.against:
                peer.check(manifest.config, args.peer_python)
                quant = args.peer_quant or peer.quantization(manifest.quantization)
                against = stack.enter_context(peer.running(path, manifest.config, quant, python=args.peer_python))
            device = open_device(args.device, warn)
            kind = "cpu" if device.kind == "numpy" else "gpu"
            limits = None if args.no_limits else await fresh(kind, ceilings.measure)
            engine = await Engine.load(manifest, _Ready(shards), device, slots=plan.slots, tuner=open_tuner(), progress=progress)
            report = await bench(engine, plan, limits, against)
            engine.close()
        if args.kernels:
            steps = [Step.of([Run(0, prompt(n, manifest.config.vocab))]) for n in (1, min(plan.prefill, device.prefill.chunk))]
            profiles = await fresh(kind, lambda d: profile(manifest, shards, d, steps), timed=True)
            names = [f"{s.rows} tokens" if s.rows > 1 else "decode" for s in steps]
            report["kernels"] = {name: [share.to_json() for share in shares] for name, shares in zip(names, profiles, strict=True)}
    report["load_ms"] = {phase: round(ms, 1) for phase, ms in timings.items()}
    report["date"] = datetime.date.today().isoformat()
    return report


async def fresh(kind: str, use: Callable[[Any], Any], timed: bool = False) -> Any:
    """A device for one purpose, closed after it; `timed`: with timestamps if it can."""
    device = (TimedDevice.open() if timed and kind == "gpu" else None) or open_device(kind)
    try:
        return await use(device)
    finally:
        device.close()


def timed(then: Callable[[str, int, int, str], None], into: dict[str, float]) -> Callable[[str, int, int, str], None]:
    """Progress that also notes how many ms each phase took."""
    started: dict[str, float] = {}

    def progress(phase: str, done: int, total: int, unit: str) -> None:
        into[phase] = (time.perf_counter() - started.setdefault(phase, time.perf_counter())) * 1e3
        then(phase, done, total, unit)

    return progress


def table(r: dict[str, Any]) -> str:
    """The report for people: what was measured, then what stands beside it."""
    lines = [
        f"{r['model']}: RWKV-{r['version']} {r['shape']}, vocabulary {r['vocab']}, {r['quant']}",
        f"{r['device']}: {r['adapter']}",
        f"prefill       {r['prefill_tok_s']:>10.1f} tokens/s   {r['prompt_tokens']} tokens, first answer token after {r['first_token_ms']:.0f} ms",
        f"decode        {r['decode_tok_s']:>10.1f} tokens/s   p50 {r['decode_ms']['p50']:.2f} ms, p99 {r['decode_ms']['p99']:.2f} ms",
        *([f"drawn         {r['draw_tok_s']:>10.1f} tokens/s   as a chat decodes: the device draws"] if "draw_tok_s" in r else []),
        f"a token       {r['dispatches_per_token']:>10} dispatches ({r['dispatches_per_layer']:g} per layer), {r['bytes_per_token'] / 1e6:.1f} MB read",
        f"memory        {r['gpu_bytes'] / 1e6:>10.1f} MB",
    ]
    if "limits" in r:
        lines += [
            f"memory limit  {r['limits']['memory_tok_s']:>10.1f} tokens/s   {r['read_gb_s']:.1f} GB/s read, {r['copy_gb_s']:.1f} GB/s copied: "
            f"decode reaches {r['of_limits']['memory']:.1%} ({r['of_limits']['copy']:.1%} of copying)",
            f"dispatch limit{r['limits']['dispatch_tok_s']:>10.1f} tokens/s   {r['dispatch_us']:.1f} µs a dispatch, {r['roundtrip_us']:.0f} µs a round trip: "
            f"decode reaches {r['of_limits']['dispatch']:.1%}",
        ]
    if peer_ := r.get("against"):
        lines.append(
            f"{peer_['package']}, {peer_['quant']}: prefill {peer_['prefill_tok_s']:.1f}, decode {peer_['decode_tok_s']:.1f} tokens/s"
        )
        drawn = f", {peer_['ratios']['draw']:.2f} × drawn" if "draw" in peer_["ratios"] else ""
        lines.append(f"ratio         {peer_['ratios']['prefill']:>10.2f} × prefill, {peer_['ratios']['decode']:.2f} × decode{drawn}")
    lines += [
        f"prompt {p['prompt_tokens']:<7}{p['prefill_tok_s']:>10.1f} tokens/s   first answer token after {p['first_token_ms']:.0f} ms"
        for p in r.get("prefills", ())
    ]
    lines += [f"batch {b['batch']:<8}{b['tok_s']:>10.1f} tokens/s   {b['step_ms']:.2f} ms a step" for b in r.get("batches", ())]
    lines += [
        f"after {c['context']:<8}{c['decode_tok_s']:>10.1f} tokens/s   p50 {c['decode_ms']['p50']:.2f} ms, {c['to_fresh']:.2f} × that of a fresh session"
        + (f"; read at {c['prefill_tok_s']:.1f} tokens/s" if "prefill_tok_s" in c else "")
        for c in r.get("contexts", ())
    ]
    for name, shares in r.get("kernels", {}).items():
        total = sum(s["ms"] for s in shares)
        lines.append(f"\n{name}: {total:.2f} ms")
        lines += [
            f"  {s['kernel']:<15} {s['place']:<14} {s['calls']:>4} calls {s['ms']:>9.2f} ms {s['ms'] / total:>6.1%} {s['mb']:>8.2f} MB"
            for s in sorted(shares, key=lambda s: -s["ms"])
        ]
    return "\n".join(lines)
