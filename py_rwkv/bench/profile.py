"""Where a step's time goes, by kernel and place. By timestamp queries where the native adapter has them; elsewhere (the page, numpy) by replaying parts.

A Program that holds only one kernel's calls takes as long as they take in the whole. Before each replay of a part the whole runs once: it leaves caches and
buffers as the part finds them in a model (top-k counts with atomics; run twice, it would count twice).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from py_rwkv.bench.ceiling import ONE, fastest
from py_rwkv.bench.ceiling import programs as ceiling_programs
from py_rwkv.bench.timestamps import TimedDevice
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.base import Device
from py_rwkv.program import Call, Program, Step
from py_rwkv.runtime.programs import build_programs, device_buffers
from py_rwkv.runtime.upload import plan

LAYER = re.compile(r"^layer\.\d+\.")


@dataclass(frozen=True)
class Share:
    """Of one kernel at one place in the layer, all layers together."""

    kernel: str
    place: str  # "att.output", "ffn.key", "head", …
    calls: int
    ms: float
    mb: float  # weight bytes the calls read for one token, in 10⁶

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def groups(program: Program) -> dict[tuple[str, str], list[Call]]:
    """Calls by kernel and place (`layer.3.att.output` → `att.output`), in the order of their first."""
    out: dict[tuple[str, str], list[Call]] = {}
    for call in program.calls:
        out.setdefault((call.kernel, LAYER.sub("", call.point)), []).append(call)
    return out


def cut(program: Program) -> list[Program]:
    """One Program per group."""
    return [replace(program, name=f"{program.name}: {kernel} {place}", calls=calls) for (kernel, place), calls in groups(program).items()]


def shares(program: Program, seconds: Sequence[float]) -> list[Share]:
    """`seconds` of each group → what `profile` returns for a step."""
    return [
        Share(kernel, place, len(calls), s * 1e3, sum(c.weight_bytes for c in calls) / 1e6)
        for ((kernel, place), calls), s in zip(groups(program).items(), seconds, strict=True)
    ]


async def profile(manifest: Manifest, shards: Any, device: Device, steps: Sequence[Step], *, repeat: int = 5) -> list[list[Share]]:
    """For each step, what it spends in which kernel: minima over `repeat` replays. The device's buffers are replaced.

    A step of one row runs the decode Program, others the prefill one.
    """
    both = build_programs(manifest, device.decode, device.prefill, device.limits, 2)
    parts = [] if isinstance(device, TimedDevice) else [cut(p) for p in both]
    empty = ceiling_programs(device.limits, 1 << 20)[0]
    await device.allocate([*both, *(p for c in parts for p in c), empty])
    for index, uploads in enumerate(plan(device_buffers(both), manifest.tensors, len(manifest.shards))):
        await device.upload(shards.read(index), uploads)
    await device.compile(lambda done, total: None)
    out = []
    for step in steps:
        which = int(step.rows > 1)
        if isinstance(device, TimedDevice):
            seconds = _timed(device, both[which], step, repeat)
        else:
            trip = await fastest(device, empty.name, ONE, 4 * repeat)
            seconds = [max(0.0, await fastest(device, p.name, step, repeat, before=both[which].name) - trip) for p in parts[which]]
        out.append(shares(both[which], seconds))
    return out


def _timed(device: TimedDevice, program: Program, step: Step, repeat: int) -> list[float]:
    """Per group, the fastest replay's sum; the first replay warms up."""
    best: dict[tuple[str, str], int] = {}
    order = list(groups(program))
    key_of = {id(call): key for key, calls in groups(program).items() for call in calls}
    for i in range(repeat + 1):
        sums = dict.fromkeys(order, 0)
        for call, ns in zip(program.calls, device.times(program.name, step), strict=True):
            sums[key_of[id(call)]] += ns
        if i:
            best = {key: min(best.get(key, ns), ns) for key, ns in sums.items()}
    return [best[key] / 1e9 for key in order]
