"""A loaded model on a device: manifest → Programs → weights on the device → sessions. Knows tokens and states, no prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Protocol

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.models import emit
from py_rwkv.models.builder import Builder, Limits, Tuning
from py_rwkv.program import Program, Run, Step
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.runtime.upload import plan
from py_rwkv.tokenizer import Tokenizer, tokenizer_for

Progress = Callable[[str, int, int, str], None]  # phase, done, total, unit ("bytes" or "steps")
VOCAB_LIMITS = {"world": 65530, "20b": 50277, "bytes": 256}  # rows of the head from here on stand for no token
MAX_OUTPUTS = 8  # logit rows a step can produce


class Shards(Protocol):
    """Where shard bytes come from: a directory, memory, or the page's IndexedDB (which hands out handles, not bytes)."""

    def read(self, index: int) -> Awaitable[Any]: ...


def build_programs(manifest: Manifest, decode: Tuning, prefill: Tuning, limits: Limits, slots: int) -> list[Program]:
    """The decode and prefill Programs of a model. RwkvError `model-too-big` when a buffer does not fit the adapter."""
    limit = VOCAB_LIMITS.get(manifest.tokenizer, manifest.config.vocab)

    def build(name: str, tuning: Tuning) -> Program:
        builder = Builder(name, manifest.tensors, tuning=tuning, limits=limits, slots=slots, max_outputs=MAX_OUTPUTS)
        return emit(builder, manifest.config, vocab_limit=limit)

    return [build("decode", decode), build("prefill", prefill)]


class Engine:
    """One model, its Programs and its state slots. Slot numbers are handed out by `session()`."""

    def __init__(self, manifest: Manifest, device: Device, programs: Sequence[Program], slots: int) -> None:
        self.manifest, self.device, self.slots = manifest, device, slots
        self.config = manifest.config
        self.decode, self.prefill = programs
        self.candidate_bytes = self.decode.buffers["candidates"].nbytes // MAX_OUTPUTS
        self._free = list(range(slots))
        self._turn = asyncio.Lock()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """RwkvError `unknown-tokenizer` for a model that names none we have; its logits are still to be had."""
        return tokenizer_for(self.manifest.tokenizer)

    @classmethod
    async def load(cls, manifest: Manifest, shards: Shards, device: Device, *, slots: int = 4, progress: Progress | None = None) -> Engine:
        """Allocate, upload shard by shard, compile, warm up; `progress` names the phases upload, compile, warmup."""
        report = progress or (lambda phase, done, total, unit: None)
        programs = build_programs(manifest, device.decode, device.prefill, device.limits, slots)
        await device.allocate(programs)
        uploads = plan(device_buffers(programs), manifest.tensors, len(manifest.shards))
        done = 0
        for index, steps in enumerate(uploads):
            report("upload", done, manifest.total_bytes, "bytes")
            await device.upload(await shards.read(index), steps)
            done += manifest.shards[index].bytes
        report("upload", done, manifest.total_bytes, "bytes")
        await device.compile(lambda i, n: report("compile", i, n, "steps"))
        engine = cls(manifest, device, programs, slots)
        report("warmup", 0, 1, "steps")
        session = engine.session()
        await session.prefill([0] * 2)
        await session.step(0)
        session.close()
        report("warmup", 1, 1, "steps")
        return engine

    def session(self) -> Session:
        """A session with a cleared state. RwkvError `no-free-slot` when all are in use."""
        if not self._free:
            raise RwkvError("no-free-slot", slots=self.slots)
        slot = self._free.pop(0)
        self.device.clear_state(slot)
        return Session(self, slot)

    def release(self, slot: int) -> None:
        self._free.append(slot)

    def info(self) -> dict[str, Any]:
        """What a person may want to know: model, device, memory in bytes, and the cost of a token."""
        m = self.manifest
        memory: dict[str, int] = {}
        for name, buffer in {b.name: b for b in device_buffers([self.decode, self.prefill])}.items():
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
            "memory": {"gpuBytes": self.device.gpu_bytes(), **memory},
            "program": {
                "dispatches": self.decode.dispatches,
                "dispatchesPerLayer": self.decode.dispatches_of("layer.") / self.config.layers,
                "bytesPerToken": self.decode.bytes_per_token,
                "bridgeBytesPerToken": {"to": len(Step.of([Run(0, [0])]).encode()), "from": self.candidate_bytes},
            },
        }

    def check_tokens(self, tokens: Sequence[int]) -> None:
        """RwkvError `empty-prompt` or `bad-token`."""
        if not tokens:
            raise RwkvError("empty-prompt")
        for token in tokens:
            if not 0 <= token < self.config.vocab:
                raise RwkvError("bad-token", token=token, vocab=self.config.vocab)

    async def logits(self, tokens: Sequence[int], *, every: bool = False) -> bytes:
        """f32 logits from a zero state: [V] after the last token, or [T, V] with `every`."""
        self.check_tokens(tokens)
        session = self.session()
        try:
            size, out = 4 * self.config.vocab, bytearray()
            chunk = MAX_OUTPUTS if every else self.device.prefill.chunk
            for at in range(0, len(tokens), chunk):
                part = tokens[at : at + chunk]
                outputs = len(part) if every else int(at + chunk >= len(tokens))
                step = Step.of([Run(session.slot, part, outputs)])
                out += await self._replay(step, "logits", size * outputs)
            return bytes(out)
        finally:
            session.close()

    async def _replay(self, step: Step, read: str, nbytes: int) -> bytes:
        """One step at a time: sessions take turns on the same scratch memory. Nothing is read where the step has no output."""
        program = self.decode if step.rows == 1 else self.prefill
        async with self._turn:
            return await self.device.run(program.name, step, read if step.outputs else "", nbytes)

    async def run(self, step: Step) -> Candidates | None:
        """One replay; the best candidates of the step's output row, if it has one."""
        raw = await self._replay(step, "candidates", self.candidate_bytes)
        if not raw:
            return None
        words = memoryview(raw)
        count = words.cast("I")[1]
        return Candidates(words.cast("I")[4 : 4 + count], words.cast("f")[4 + count : 4 + 2 * count], words.cast("f")[0])

    def close(self) -> None:
        """Free the device's memory."""
        self.device.close()


class Session:
    """A recurrent state in a slot, and the tokens that made it."""

    def __init__(self, engine: Engine, slot: int) -> None:
        self.engine, self.slot = engine, slot
        self.tokens: list[int] = []

    async def prefill(self, tokens: Sequence[int], cancel: Callable[[], bool] = lambda: False) -> Candidates:
        """Feed tokens chunk by chunk; candidates for the next one. When `cancel()` turns true between chunks, RwkvError `cancelled`: the state holds what was fed."""
        self.engine.check_tokens(tokens)
        chunk = self.engine.device.prefill.chunk
        candidates = None
        for at in range(0, len(tokens), chunk):
            if cancel():
                raise RwkvError("cancelled")
            part = tokens[at : at + chunk]
            candidates = await self.engine.run(Step.of([Run(self.slot, part, int(at + chunk >= len(tokens)))]))
            self.tokens += part
        assert candidates is not None
        return candidates

    async def step(self, token: int) -> Candidates:
        """Feed one token; candidates for the next."""
        candidates = await self.engine.run(Step.of([Run(self.slot, [token])]))
        self.tokens.append(token)
        assert candidates is not None
        return candidates

    def reset(self) -> None:
        """Back to the zero state."""
        self.engine.device.clear_state(self.slot)
        self.tokens.clear()

    def close(self) -> None:
        """Give the slot back."""
        self.engine.release(self.slot)


def device_buffers(programs: Sequence[Program]) -> list[Any]:
    """The buffers of some programs, each once."""
    return list({name: b for p in programs for name, b in p.buffers.items()}.values())
