"""Which forms of the kernels are the fastest for a model on its adapter: candidates take turns on the model's own weights. docs/tuning.md"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.models import emit
from py_rwkv.models.builder import Builder
from py_rwkv.models.tuning import Choice, Tuning, candidates, chunks, prefill_candidates
from py_rwkv.program import Program, Run, Step

PATIENCE = 0.7  # seconds after which no other candidate is compiled, unless somebody has asked for the measurement
BUDGET = 0.4  # seconds of measuring candidates, once they are compiled
ROUNDS = 4
STAGES = 4  # decode, prefill, chunk, narrow
WORK = 0.004  # seconds a sample should last
MARGIN = 0.95  # a candidate must need less than this part of the preset's time
LONGEST = 0.1  # seconds a prefill step may last: stop works between steps
BYTES = 128 << 20  # of weights to measure with: more than most caches hold
Progress = Callable[[int, int], None]
Sample = tuple[int, int, int]  # program, rows, outputs


async def measure(
    device: Device,
    manifest: Manifest,
    programs: Sequence[Program],
    progress: Progress | None = None,
    patience: float = PATIENCE,
    rounded: bool = False,
) -> Choice:
    """The fastest forms for this model, whose `programs` the device holds and keeps; slots 0 and 1 move on.

    Candidates take turns, so that a machine that is busy for a moment is so for all, and their least times count. The preset stays unless another needs
    5 % less. Only as many layers as caches cannot hold are run; the head is counted as the whole model has it.
    patience: seconds for compiling the candidates of a heat; those not reached in time take no part. rounded: forms that round activations may win.
    """
    told = 0

    def tell() -> None:
        nonlocal told
        told += 1
        if progress:
            progress(told, STAGES)

    if progress:
        progress(0, STAGES)
    race = Race(device, manifest, programs[0], patience)
    try:
        forms = candidates(device.features, rounded)
        await race.enter(forms)
        decode = forms[await race.best([(i, 1, 1) for i in range(len(forms))])]
        tell()
        tiles = prefill_candidates(device.features, decode, rounded)
        await race.enter(tiles)
        rows = min(tiles[0].chunk, 32)
        prefill = tiles[await race.best([(i, rows, 0) for i in range(len(tiles))])]
        tell()
        await race.enter([decode, prefill])
        prefill = replace(prefill, chunk=await _chunk(race, prefill, chunks(device.features)))
        tell()
        decode = replace(decode, narrow=await _narrow(race))
        tell()
        return Choice(decode, prefill)
    finally:
        race.close()


async def _chunk(race: Race, prefill: Tuning, lengths: Sequence[int]) -> int:
    """Rows of a prefill step: the most per second, in steps short enough; the preset's unless another is better by the margin."""
    seconds = {rows: (await race.times([(1, rows, 0)], BUDGET / 4))[0] for rows in {prefill.chunk, *lengths}}
    short = [rows for rows in seconds if seconds[rows] <= LONGEST] or [min(seconds)]
    best = min(short, key=lambda rows: seconds[rows] / rows)
    own = prefill.chunk
    return own if own in short and seconds[best] / best > MARGIN * seconds[own] / own else best


async def _narrow(race: Race) -> int:
    """Up to how many rows the decode program is the faster one."""
    for rows in range(2, min(4, race.outputs) + 1):
        decode, prefill = await race.times([(0, rows, rows), (1, rows, rows)], BUDGET / 8)
        if decode > prefill:
            return rows - 1
    return min(4, race.outputs)


class Race:
    """Programs of some layers on the model's own memory, timed step by step. `model`: one of its Programs."""

    def __init__(self, device: Device, manifest: Manifest, model: Program, patience: float) -> None:
        self.device, self.manifest, self.patience = device, manifest, patience
        self.layers = layers_for(manifest)
        limit = next(int(c.constants["LIMIT"]) for c in model.calls if c.kernel == "topk_groups")
        slots = next(b for b in model.buffers.values() if b.role == "state").shape[0]
        self.outputs = model.max_outputs
        self._options: dict[str, Any] = {"limits": device.limits, "slots": slots, "max_outputs": self.outputs}
        self._emit = partial(emit, config=replace(manifest.config, layers=self.layers), vocab_limit=limit)
        self.entered: list[Device | None] = []

    async def enter(self, forms: Sequence[Tuning]) -> None:
        """Compile a Program for each; they are numbered from 0, and those of before are gone. One that does not compile, or is not reached in time, never wins."""
        self.close()
        began = perf_counter()
        for i, form in enumerate(forms):
            in_time = i == 0 or perf_counter() - began < self.patience
            self.entered.append(await self._compiled(form) if in_time else None)
            if self.entered[i]:
                await self._run((i, 2, 0), 1)  # some drivers compile only now

    async def _compiled(self, form: Tuning) -> Device | None:
        program = self._emit(Builder("tune", self.manifest.tensors, tuning=form, **self._options))
        twin = self.device.twin(lend=True)
        try:
            await twin.allocate([program])
            await twin.compile(lambda done, total: None)
        except RwkvError as e:
            twin.close()
            if e.code != "kernel-failed":
                raise
            return None
        return twin

    async def best(self, samples: Sequence[Sample]) -> int:
        """Which of some (program, rows, outputs) is the fastest; the first unless another is by more than the margin."""
        first, *others = await self.times(samples, BUDGET)
        least = min(others, default=first)
        return 1 + others.index(least) if least < MARGIN * first else 0

    async def times(self, samples: Sequence[Sample], budget: float) -> list[float]:
        """Seconds each of some (program, rows, outputs) would take with all the model's layers, found within about `budget` seconds."""
        scale = self.manifest.config.layers / self.layers
        bare = [(number, rows, 0) for number, rows, outputs in samples if outputs and scale > 1]
        least = await self._least([*samples, *bare], budget)
        found = []
        for number, rows, outputs in samples:
            whole, layers = least[number, rows, outputs], least.get((number, rows, 0), float("inf"))
            found.append(whole * scale if not outputs else whole if scale == 1 else layers * scale + max(0.0, whole - layers))
        return found

    async def _least(self, samples: Sequence[Sample], budget: float) -> dict[Sample, float]:
        """The least of a few rounds; infinity for those that nothing could be learned about."""
        began, least = perf_counter(), dict.fromkeys(samples, float("inf"))

        def late() -> bool:
            return perf_counter() - began > budget

        running = []
        for i, sample in enumerate(samples):
            if self.entered[sample[0]] and not (i > 1 and late()):
                running.append(sample)
                least[sample] = await self._run(sample, 1)
        repeat = {s: max(1, min(16, int(WORK / max(least[s], 1e-6)))) if self.device.loops else 1 for s in running}
        for _ in range(ROUNDS):
            if late():
                break
            for sample in running:
                least[sample] = min(least[sample], await self._run(sample, repeat[sample]))
        return least

    async def _run(self, sample: Sample, times: int) -> float:
        """Seconds for one step: so many rows, of as many sessions if they have outputs, else of one."""
        number, rows, outputs = sample
        tokens = [i % self.manifest.config.vocab for i in range(1, rows + 1)]
        step = Step.of([Run(0, [t]) for t in tokens] if outputs else [Run(0, tokens, 0)])
        device = self.entered[number]
        assert device
        began = perf_counter()
        await device.run("tune", step, times=times)
        return (perf_counter() - began) / times

    def close(self) -> None:
        for device in self.entered:
            if device:
                device.close()
        self.entered.clear()


def layers_for(manifest: Manifest) -> int:
    """How many layers hold BYTES of weights, at least two (the first may differ from the rest)."""
    layers = manifest.config.layers
    total = sum(p.nbytes for name, t in manifest.tensors.items() if name.startswith("blocks.") for p in t.pieces)
    return min(layers, max(2, -(-BYTES * layers // max(1, total))))
