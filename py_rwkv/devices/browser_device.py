"""The page's device: hands Programs to the JS executor (web/engine/gpu.js) and asks it to replay them. One crossing per step."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from py_rwkv.devices.base import merged_buffers, slot_span
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import Choice, Features, preset
from py_rwkv.program import Buffer, Program, Step
from py_rwkv.runtime.upload import Upload


class BrowserDevice:
    """`gpu` is a `Gpu` of gpu.js; shards are ArrayBuffers that stay on the JavaScript side."""

    kind = "webgpu"
    blocking = False
    loops = True

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.adapter = str(gpu.adapter)
        self.limits = limits_of(gpu.limits)
        self.identity = str(gpu.identity)
        self.features = features_of(gpu.features)
        self.given = False
        self.tune(preset(self.features))
        self.buffers: dict[str, Buffer] = {}
        self._lists: dict[tuple[str, ...], Any] = {}
        self._ready: set[str] = set()

    def tune(self, choice: Choice) -> None:
        self.decode, self.prefill = choice.decode, choice.prefill

    def twin(self, *, lend: bool = False) -> BrowserDevice:
        return BrowserDevice(self.gpu.twin(lend))

    async def allocate(self, programs: Sequence[Program], *, keep: bool = False) -> None:
        self.buffers = merged_buffers(programs)
        await call(self.gpu.allocate, from_json([p.to_wire() for p in programs]))

    async def upload(self, shard: Any, uploads: Sequence[Upload]) -> None:
        await call(self.gpu.upload, shard, from_json([vars(u) for u in uploads]))

    async def compile(self, progress: Callable[[int, int], None]) -> None:
        from pyodide.ffi import create_proxy

        self._ready.clear()
        proxy = create_proxy(progress)
        try:
            await call(self.gpu.compile, proxy)
        finally:
            proxy.destroy()

    async def run(self, program: str, step: Step, read: str = "", nbytes: int = 0, *, then: str = "", times: int = 1) -> bytes:
        programs = self._names(program, then)
        out = await call(self.gpu.run, programs, times, to_js(step.encode()), step.rows, step.runs, step.outputs, read, nbytes)
        return bytes(out.to_bytes())

    def ready(self, program: str) -> bool:
        if program not in self._ready and self.gpu.ready(program):
            self._ready.add(program)
        return program in self._ready

    def _names(self, *programs: str) -> Any:
        """The names as a JS array, made once."""
        if programs not in self._lists:
            self._lists[programs] = from_json([p for p in programs if p])
        return self._lists[programs]

    def write(self, buffer: str, at: int, data: bytes) -> None:
        self.gpu.write(buffer, at, to_js(data))

    def clear(self, buffer: str, at: int, nbytes: int) -> None:
        self.gpu.clear(from_json([(buffer, at, nbytes)]))

    async def read(self, buffer: str, nbytes: int) -> bytes:
        return bytes((await call(self.gpu.read, from_json([(buffer, 0, nbytes)]))).to_bytes())

    def _spans(self, slot: int) -> list[tuple[str, int, int]]:
        return [(b.name, *slot_span(b, slot)) for b in self.buffers.values() if b.role == "state"]

    async def read_state(self, slot: int) -> dict[str, bytes]:
        spans = self._spans(slot)
        data = (await call(self.gpu.read, from_json(spans))).to_bytes()
        out, at = {}, 0
        for name, _, size in spans:
            out[name] = data[at : at + size]
            at += size
        return out

    def write_state(self, slot: int, state: dict[str, bytes]) -> None:
        for name, at, _ in self._spans(slot):
            self.gpu.write(name, at, to_js(state[name]))

    def copy_state(self, source: int, target: int) -> None:
        pairs = zip(self._spans(source), self._spans(target), strict=True)
        self.gpu.copy(from_json([(name, a, b, size) for (name, a, size), (_, b, _) in pairs]))

    def clear_state(self, slot: int) -> None:
        self.gpu.clear(from_json(self._spans(slot)))

    def gpu_bytes(self) -> int:
        return int(self.gpu.bytes())

    def close(self) -> None:
        self.gpu.close()


def limits_of(limits: Any) -> Limits:
    return Limits(int(limits.bindingBytes), int(limits.bufferBytes), int(limits.workgroups), int(limits.textureRows))


def features_of(features: Any) -> Features:
    """From `Gpu.features` of gpu.js."""
    least, most = (int(n) for n in features.subgroups)
    return Features(bool(features.software), (least, most), bool(features.f16), bool(features.packed))


async def call(function: Any, *arguments: Any) -> Any:
    """Await a JS function; its RwkvErrors become ours."""
    from pyodide.ffi import JsException

    try:
        return await function(*arguments)
    except JsException as e:
        raise from_js(e) from None


def from_js(e: Any) -> RwkvError:
    """The RwkvError that a JS exception carries (web/engine/errors.js), or `internal`."""
    error = getattr(e, "js_error", e)
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if isinstance(code, str) and details is not None:
        try:
            return RwkvError(code, **details.to_py())
        except KeyError:
            pass
    if getattr(error, "name", "") == "AbortError":
        return RwkvError("cancelled")
    return RwkvError("internal", reason=str(e))


def from_json(data: Any) -> Any:
    """Plain data as a JS object: one string across, no proxies."""
    import js

    return js.JSON.parse(json.dumps(data))


def to_js(data: bytes) -> Any:
    """Bytes as a Uint8Array of its own."""
    from pyodide.ffi import to_js as convert

    return convert(data)
