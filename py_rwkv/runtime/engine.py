"""A loaded model on a device: manifest → Programs → weights on the device → sessions. Knows tokens and states, no prompts."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from operator import neg
from time import perf_counter
from typing import Any, Protocol

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.state_file import State
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Hook
from py_rwkv.kernels.topk import NEVER
from py_rwkv.program import Program, Run, Step
from py_rwkv.runtime.draws import Draws
from py_rwkv.runtime.programs import build_programs, device_buffers, sample_program
from py_rwkv.runtime.replay import Replay
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.runtime.scheduler import Scheduler, Share
from py_rwkv.runtime.session import Session
from py_rwkv.runtime.states import buffers_of
from py_rwkv.runtime.tuner import Tuner
from py_rwkv.runtime.upload import plan
from py_rwkv.tokenizer import Tokenizer, check_size, tokenizer_for

SHORT = 16  # rows that the decode program takes where the prefill program is not compiled yet
Progress = Callable[[str, int, int, str], None]  # phase, done, total, unit ("bytes" or "steps")


class Shards(Protocol):
    """Where shard bytes come from: a directory, memory, or the page's IndexedDB (which hands out handles, not bytes)."""

    def read(self, index: int) -> Awaitable[Any]: ...


class Engine:
    """One model, its Programs and its state slots. Slot numbers are handed out by `session()`."""

    def __init__(self, manifest: Manifest, device: Device, programs: Sequence[Program], slots: int) -> None:
        self.manifest, self.device, self.slots = manifest, device, slots
        self.config = manifest.config
        self.tokenizer_file: bytes | None = None  # what the manifest says about it was checked with the file
        self.programs = list(programs)
        self.decode, self.prefill, *_ = programs
        self.replay = Replay(device, programs)
        self.draws = Draws(device, self.config.vocab, slots) if device.loops and not self.replay.stops else None
        self.output_bytes = {name: 4 * self.decode.buffers[name].shape[1] for name in ("candidates", "logits")}  # of one row
        self.scheduler = Scheduler(self._advance, device.prefill.chunk, self.decode.max_outputs, blocking=device.blocking)
        self.default: dict[str, bytes] | None = None  # the model's own start, by state buffer
        self.start: dict[str, bytes] | None = None  # where sessions start; None: at zero
        self.tuner: Tuner | None = None
        self.tuning: dict[str, Any] = {}  # how the forms of the kernels came about (runtime/tuner.py)
        self._free = list(range(slots))
        self._turn = asyncio.Lock()  # reading a state and a step take turns: they read back through the same memory

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """RwkvError `unknown-tokenizer` for a model that names none we have; its logits are still to be had. `bad-tokenizer`, `tokenizer-mismatch`."""
        tokenizer = tokenizer_for(self.manifest.tokenizer, self.tokenizer_file)
        check_size(tokenizer.name, tokenizer.vocab_limit, self.config.vocab)
        return tokenizer

    @classmethod
    async def load(
        cls,
        manifest: Manifest,
        shards: Shards,
        device: Device,
        *,
        slots: int = 4,
        max_outputs: int | None = None,
        hooks: Sequence[Hook] = (),
        tokenizer: bytes | None = None,
        tuner: Tuner | None = None,
        progress: Progress | None = None,
    ) -> Engine:
        """Allocate, upload shard by shard, compile, warm up; `progress` names the phases upload, compile, warmup (with measuring and the self-test).

        slots: sessions at a time. max_outputs: rows of logits (4 V bytes each) one step can make, 2 to 128; as many as slots, but at least 8, when not given.
        tokenizer: the content of its file, where the manifest names one.
        hooks: a person's own kernels and functions at values of the model (docs/hooks.md); the warm-up calls no function.
        tuner: chooses the forms of the kernels and has them tested; without one, those of the device are used as they are.
        """
        report = progress or (lambda phase, done, total, unit: None)
        spare = slots if device.loops else 0  # where a state waits while the device draws ahead
        default: dict[str, bytes] | None = None
        uploaded = ""  # where to: `Tuning.held`

        async def prepare() -> list[Program]:
            """The Programs in the device's present forms, ready to run; weights are uploaded the first time, and when they are to be held elsewhere."""
            nonlocal default, uploaded
            programs = build_programs(manifest, device.decode, device.prefill, device.limits, slots, max_outputs, hooks, spare)
            if device.loops:
                programs.append(sample_program(programs[0], manifest.config.vocab, slots))
            there = uploaded == device.decode.held
            await device.allocate(Replay(device, programs).programs, keep=there)
            done = 0
            for index, steps in enumerate(() if there else plan(device_buffers(programs), manifest.tensors, len(manifest.shards))):
                report("upload", done, manifest.total_bytes, "bytes")
                await device.upload(await shards.read(index), steps)
                done += manifest.shards[index].bytes
            if not there:
                report("upload", done, manifest.total_bytes, "bytes")
                if any(name.startswith("state.") for name in manifest.tensors):
                    default = await device.read_state(0)
            uploaded = device.decode.held
            await device.compile(lambda i, n: report("compile", i, n, "steps"))
            return programs

        trying = lambda done, total: report("warmup", done, total + 1, "steps")  # noqa: E731
        programs = await (tuner.settle(device, manifest, prepare, measurable=not hooks, progress=trying) if tuner else prepare())
        engine = cls(manifest, device, programs, slots)
        engine.tuner, engine.tuning = tuner, tuner.report if tuner else {}
        engine.tokenizer_file = tokenizer
        engine.default = engine.start = default
        report("warmup", 0, 1, "steps")
        if device.blocking:  # others compile on, and what a first step costs more is little there
            session = engine.session()
            await session.prefill([0] * (device.decode.narrow + 1))
            await session.step(0)
            session.close()
        engine.replay.active = True
        report("warmup", 1, 1, "steps")
        return engine

    def session(self) -> Session:
        """A session at its start. RwkvError `no-free-slot` when all are in use."""
        if not self._free:
            raise RwkvError("no-free-slot", slots=self.slots)
        slot = self._free.pop(0)
        self.begin(slot)
        return Session(self, slot)

    def begin(self, slot: int) -> None:
        """Put a slot at the start."""
        if self.start is None:
            self.device.clear_state(slot)
        else:
            self.device.write_state(slot, self.start)

    def set_start(self, state: State | None, *, force: bool = False) -> None:
        """Where sessions start from now on and what `reset` goes back to; None: the model's default state, or zero. Sessions that exist stay where they are.

        RwkvErrors as in `states.buffers_of`.
        """
        self.start = self.default if state is None else buffers_of(self.manifest, state, force=force)

    def release(self, slot: int) -> None:
        self.scheduler.leave(slot)
        self._free.append(slot)

    def info(self) -> dict[str, Any]:
        """What a person may want to know: model, device, memory in bytes, and the cost of a token."""
        m = self.manifest
        memory: dict[str, int] = {}
        for name, buffer in {b.name: b for b in device_buffers(self.programs)}.items():
            role = {"constant": "weight", "output": "scratch"}.get(buffer.role, buffer.role)
            memory[role] = memory.get(role, 0) + self.decode.buffers.get(name, buffer).nbytes
        return {
            "model": {
                "name": m.name,
                "quantization": m.quantization,
                "bytes": m.total_bytes,
                "sampling": asdict(m.sampling),
                **self.config.to_json(),
            },
            "device": {"kind": self.device.kind, "adapter": self.device.adapter},
            "tuning": self.tuning,
            "memory": {"gpuBytes": self.device.gpu_bytes(), **memory},
            "program": {
                "dispatches": self.decode.dispatches,
                "dispatchesPerLayer": self.decode.dispatches_of("layer.") / self.config.layers,
                "bytesPerToken": self.decode.bytes_per_token,
                "bridgeBytesPerToken": {"to": len(Step.of([Run(0, [0])]).encode()), "from": self.output_bytes["candidates"]},
            },
        }

    def check_tokens(self, tokens: Sequence[int]) -> None:
        """RwkvError `empty-prompt` or `bad-token`."""
        if not tokens:
            raise RwkvError("empty-prompt")
        for token in tokens:
            if not 0 <= token < self.config.vocab:
                raise RwkvError("bad-token", token=token, vocab=self.config.vocab)

    def check_embeddings(self, rows: Any) -> memoryview:
        """Their bytes. RwkvError `no-input-norm`, `bad-embeddings` (not rows of C floats) or `empty-prompt`."""
        data, columns = memoryview(rows), self.config.embd
        shape = data.shape or ()
        if "blocks.0.ln0.weight" not in self.manifest.tensors:
            raise RwkvError("no-input-norm", name="blocks.0.ln0.weight")
        expected, floats = f"f32 [rows, {columns}]", data.format in ("f", "<f")
        if not data.c_contiguous or not (floats or data.format in ("B", "b", "c")):
            raise RwkvError("bad-embeddings", expected=expected, found=f"items of the format {data.format}, or not in C order")
        if data.nbytes % (4 * columns) or (floats and len(shape) > 1 and shape[-1] != columns):
            raise RwkvError("bad-embeddings", expected=expected, found=f"{list(shape)} ({data.nbytes} bytes)")
        if not data.nbytes:
            raise RwkvError("empty-prompt")
        return data.cast("B")

    async def logits(self, tokens: Sequence[int], *, every: bool = False) -> bytes:
        """f32 logits from the start: [V] after the last token, or [T, V] with `every`."""
        session = self.session()
        try:
            return await session.feed(tokens, "full" if every else "last")
        finally:
            session.close()

    async def _advance(self, batch: list[Share]) -> None:
        """One step for some sessions, or several where all of them draw; whatever it brings goes to their works."""
        if len(batch) > 1:  # rows of logits come first: they are read from the start
            batch.sort(key=lambda share: share[0].want in ("candidates", "draws"))
        runs, row, rows_of = [], 0, {"logits": 0, "candidates": 0, "draws": 0}
        for work, n in batch:
            runs.append(run := Run(work.slot, work.ahead(n), work.outputs(n), bool(work.mask)))
            if work.embeddings is not None:
                self.device.write("embeddings", row * 4 * self.config.embd, work.rows_ahead(n))
            rows_of[work.want if work.want in rows_of else "logits"] += run.outputs
            row += n
        step, size = Step.of(runs), self.output_bytes
        sizes = {"ring": self.draws.ring_bytes if self.draws and rows_of["draws"] else 0, "logits": rows_of["logits"] * size["logits"]}
        sizes["candidates"] = step.outputs * size["candidates"] if rows_of["candidates"] else 0
        reads = [name for name, nbytes in sizes.items() if nbytes] or [""]
        drawing = [work for work, _ in batch if work.want == "draws"]
        times = self.draws.times(drawing) if self.draws and len(drawing) == len(batch) else 1
        async with self._turn:
            began = perf_counter()
            self._write_masks(batch)
            if times > 1:
                for work in drawing:
                    self.device.copy_state(work.slot, self.slots + work.slot)
            try:
                first = await self._replay(step, reads[0], sizes.get(reads[0], 0), "sample" if drawing else "", times)
            except asyncio.CancelledError:  # a lone session's caller has gone; the device still does what it was given
                for work, n in batch:
                    if times > 1:
                        self.device.copy_state(self.slots + work.slot, work.slot)
                    else:
                        work.advance(n)
                raise
            found = {name: memoryview(first if i == 0 else await self.device.read(name, sizes[name])) for i, name in enumerate(reads)}
        if self.draws and drawing:
            self.draws.measured(began, times)
        at = 0
        for (work, n), run in zip(batch, runs, strict=True):
            end = at + run.outputs
            work.advance(n)
            if self.draws and work.want == "draws":
                self.draws.deliver(work, times, found["ring"])
            elif end > at and work.want == "candidates":
                work.candidates = _candidates(found["candidates"][at * size["candidates"] : end * size["candidates"]], bool(work.mask))
            elif end > at:
                work.logits += found["logits"][at * size["logits"] : end * size["logits"]]
            at = end

    def _write_masks(self, batch: Sequence[Share]) -> None:
        """Put the masks of the outputs that have one where the step will look for them."""
        at, size = 0, 4 * -(-self.config.vocab // 32)
        for work, n in batch:
            if work.mask and work.outputs(n):
                self.device.write("masks", at * size, work.mask[:size].ljust(size, b"\0"))
            at += work.outputs(n)

    async def read_state(self, slot: int) -> dict[str, bytes]:
        """What a slot's state buffers hold. RwkvError `session-busy` while its session has work under way."""
        self.scheduler.check_idle(slot)
        async with self._turn:
            return await self.device.read_state(slot)

    async def _replay(self, step: Step, read: str, nbytes: int, then: str, times: int) -> bytes:
        """One submit at a time (the scheduler sees to that). A short prompt does not wait for pipelines that are still on their way."""
        narrow = step.rows <= self.device.decode.narrow or (step.rows <= SHORT and not self.device.ready(self.prefill.name))
        program = self.decode if narrow else self.prefill
        if then:
            return await self.device.run(program.name, step, read, nbytes, then=then, times=times)
        return await self.replay.run(program.name, step, read, nbytes)

    def close(self) -> None:
        """End what is under way (RwkvError `cancelled`) and free the device's memory."""
        self.scheduler.close()
        self.device.close()


def _candidates(raw: memoryview, masked: bool) -> Candidates:
    """u32 [4 + 2 K] of kernels/topk.py: log Σ exp, count, _, _, ids, logits; without those that a mask forbids."""
    count = raw.cast("I")[1]
    logits = raw.cast("f")[4 + count : 4 + 2 * count]
    most = bisect_left(logits, -NEVER, key=neg) if masked else count
    return Candidates(raw.cast("I")[4 : 4 + most], logits[:most], raw.cast("f")[0])
