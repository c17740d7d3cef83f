"""The reference device: interprets a Program call by call with the kernels' numpy references. Also the fallback where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from py_rwkv.devices.base import merged_buffers, slot_span
from py_rwkv.kernels import KERNELS, shape_of
from py_rwkv.lazy import np
from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import SOFTWARE, Choice, Features
from py_rwkv.program import MAX_ROWS, Buffer, Call, Program, Step
from py_rwkv.runtime.upload import Upload, gathered

if TYPE_CHECKING:
    from numpy import ndarray

RAW = ("weights", "scales", "stack", "stack_scales")  # declared types that references get as bytes


class NumpyDevice:
    """Buffers are byte arrays; references see typed views of them. Matrices are decoded to f32 once and remembered."""

    kind = "numpy"
    adapter = "numpy"
    blocking = True
    loops = False
    limits = Limits(binding_bytes=1 << 40, buffer_bytes=1 << 40, workgroups=1 << 40)
    identity = "numpy"
    features = Features(software=True)
    given = True
    decode = SOFTWARE
    prefill = replace(SOFTWARE, chunk=MAX_ROWS)

    def __init__(self) -> None:
        self.memory: dict[str, ndarray] = {}
        self.buffers: dict[str, Buffer] = {}
        self.programs: dict[str, Program] = {}
        self.kept: dict[str, bytes] = {}
        self._memo: dict[Any, Any] = {}

    def tune(self, choice: Choice) -> None: ...

    def twin(self, *, lend: bool = False) -> NumpyDevice:
        other = NumpyDevice()
        other.memory = dict(self.memory) if lend else {}
        return other

    async def allocate(self, programs: Sequence[Program], *, keep: bool = False) -> None:
        self.programs = {p.name: p for p in programs}
        self.buffers = merged_buffers(programs)
        for name, buffer in self.buffers.items():
            if keep and name in self.memory:
                continue
            self.memory[name] = np.zeros(buffer.nbytes, np.uint8)
            if buffer.data:
                self.memory[name][: len(buffer.data)] = np.frombuffer(buffer.data, np.uint8)

    async def compile(self, progress: Callable[[int, int], None]) -> None:
        progress(1, 1)

    def ready(self, program: str) -> bool:
        return True

    async def upload(self, shard: Any, uploads: Sequence[Upload]) -> None:
        self._memo.clear()
        for u in uploads:
            data = gathered(u, shard, self.kept)
            if u.buffer:
                self.memory[u.buffer][u.to : u.to + len(data)] = np.frombuffer(data, np.uint8)

    async def run(self, program: str, step: Step, read: str = "", nbytes: int = 0, *, then: str = "", times: int = 1) -> bytes:
        assert not then and times == 1
        with np.errstate(over="ignore", under="ignore"):
            for call in self.programs[program].calls:
                if all(d.workgroups(step) for d in call.grid):
                    self.run_call(call, step)
        return self.memory[read][:nbytes].tobytes() if read else b""

    def run_call(self, call: Call, step: Step) -> None:
        """One call on the current memory; what dumps and comparisons use."""
        kernel = KERNELS[call.kernel]
        declared = list(kernel.reads.items()) + list(kernel.writes.items())
        sizes = {k: v for k, v in call.constants.items() if isinstance(v, int)}
        sizes |= {"rows": step.rows, "outputs": step.outputs, "tokens": step.outputs if call.constants.get("PER_OUTPUT") else step.rows}
        arrays = {}
        for (name, text), buffer in zip(declared, call.buffers, strict=True):
            memory = self.memory[buffer.name]
            if text.partition("[")[0] in RAW:
                arrays[name] = memory
                continue
            kind, shape = shape_of(text, sizes | {"slots": buffer.shape[0]})
            arrays[name] = memory.view(np.uint32 if kind == "u32" else np.float32)[: prod(shape)].reshape(shape)
        kernel.run(step, SimpleNamespace(**call.constants), self._remember, **arrays)

    def _remember(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def write(self, buffer: str, at: int, data: bytes) -> None:
        self.memory[buffer][at : at + len(data)] = np.frombuffer(data, np.uint8)

    def clear(self, buffer: str, at: int, nbytes: int) -> None:
        self.memory[buffer][at : at + nbytes] = 0

    async def read(self, buffer: str, nbytes: int) -> bytes:
        return self.memory[buffer][:nbytes].tobytes()

    def _state(self, slot: int) -> dict[str, ndarray]:
        spans = {name: slot_span(b, slot) for name, b in self.buffers.items() if b.role == "state"}
        return {name: self.memory[name][at : at + size] for name, (at, size) in spans.items()}

    async def read_state(self, slot: int) -> dict[str, bytes]:
        return {name: view.tobytes() for name, view in self._state(slot).items()}

    def write_state(self, slot: int, state: dict[str, bytes]) -> None:
        for name, view in self._state(slot).items():
            view[:] = np.frombuffer(state[name], np.uint8)

    def copy_state(self, source: int, target: int) -> None:
        views = self._state(target)
        for name, view in self._state(source).items():
            views[name][:] = view

    def clear_state(self, slot: int) -> None:
        for view in self._state(slot).values():
            view[:] = 0

    def gpu_bytes(self) -> int:
        return sum(m.nbytes for m in self.memory.values())

    def close(self) -> None:
        self.memory.clear()
        self._memo.clear()
