"""The native device: a Program on Vulkan, Metal or D3D12 through the PyPI package `wgpu` (wgpu-native). Same replay as web/engine/gpu.js."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from py_rwkv.devices.base import merged_buffers, slot_span
from py_rwkv.devices.textures import extent, rectangles
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import Choice, Features, Tuning, choice_of, preset
from py_rwkv.program import BLOCK_BYTES, STEP_BYTES, TEXEL_FORMATS, TEXTURE_ROW, Buffer, Program, Step
from py_rwkv.runtime.upload import Upload, gathered

SUBGROUPS = "enable subgroups;\n"  # wgpu's WGSL does not know the line: it has them unasked
FEATURES = ("subgroup", "shader-f16")  # likewise
READABLE = frozenset({"state", "output"})
WANTED = {
    "max-storage-buffer-binding-size": 2 << 30,
    "max-buffer-size": 2 << 30,
    "max-texture-dimension-2d": 1 << 14,
}  # asked for as far as the adapter has them


def request_adapter() -> Any:
    """The best adapter, or RwkvError `no-adapter`."""
    try:
        import wgpu

        return wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except Exception as e:  # wgpu raises many types when a driver or its library is missing
        raise RwkvError("no-adapter", reason=str(e) or type(e).__name__) from e


class WgpuDevice:
    """Pipelines and bind groups are made once; a step is one uniform write, one pass, one submit."""

    kind = "wgpu"
    blocking = True
    loops = True

    def __init__(self, adapter: Any = None, *, tuning: Tuning | None = None) -> None:
        self._adapter = adapter or request_adapter()
        info, have, can = self._adapter.info, self._adapter.limits, self._adapter.features
        self.adapter = f"{info['device']} ({info['backend_type']})"
        self.identity = " ".join(str(info[key]) for key in ("vendor", "architecture", "device", "description", "backend_type"))
        self.features = Features(
            info["adapter_type"] == "CPU", _subgroups(info) if "subgroup" in can else (0, 0), "shader-f16" in can, True
        )
        self.device = self._adapter.request_device_sync(
            required_features=[f for f in FEATURES if f in can], required_limits={k: min(v, have[k]) for k, v in WANTED.items()}
        )
        got = self.device.limits
        self.limits = Limits(
            got["max-storage-buffer-binding-size"],
            got["max-buffer-size"],
            got["max-compute-workgroups-per-dimension"],
            got["max-texture-dimension-2d"],
        )
        self.given = tuning is not None
        self.tune(choice_of(tuning) if tuning else preset(self.features))
        self.queue = self.device.queue
        self.buffers: dict[str, Buffer] = {}
        self.memory: dict[str, Any] = {}
        self._programs: Sequence[Program] = ()
        self._calls: dict[str, list[tuple[Any, Any, Any]]] = {}
        self._kept: dict[str, bytes] = {}
        self._modules: dict[str, Any] = {}
        self._blocks: list[Any] = []
        self._lent: dict[str, Any] = {}  # another's

    def tune(self, choice: Choice) -> None:
        self.decode, self.prefill = choice.decode, choice.prefill

    def twin(self, *, lend: bool = False) -> WgpuDevice:
        other = copy(self)
        other.buffers, other.memory, other._calls, other._kept, other._blocks = {}, {}, {}, {}, []
        other._lent = dict(self.memory) if lend else {}
        return other

    async def allocate(self, programs: Sequence[Program], *, keep: bool = False) -> None:
        import wgpu

        self._programs = programs
        self.buffers = merged_buffers(programs)
        had, self.memory = self.memory if keep else {}, {}
        had = had | self._lent
        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.COPY_SRC
        for name, buffer in self.buffers.items():
            if name in had and had[name].size == (extent(buffer) if buffer.texel else buffer.nbytes):
                self.memory[name] = had.pop(name)
                continue
            if buffer.texel:
                kind = wgpu.TextureUsage.TEXTURE_BINDING if buffer.held == "textures" else wgpu.TextureUsage.STORAGE_BINDING
                self.memory[name] = self.device.create_texture(
                    label=name, size=extent(buffer), format=buffer.format, usage=kind | wgpu.TextureUsage.COPY_DST
                )
                continue
            self.memory[name] = self.device.create_buffer(label=name, size=buffer.nbytes, usage=usage)
            if buffer.data:
                self.queue.write_buffer(self.memory[name], 0, buffer.data)
        self._step = self.device.create_buffer(size=STEP_BYTES, usage=usage | wgpu.BufferUsage.UNIFORM)
        self._destroy(had)

    def ready(self, program: str) -> bool:
        return True

    async def compile(self, progress: Callable[[int, int], None]) -> None:
        import wgpu

        wires = [(p, p.to_wire()) for p in self._programs]
        total, done = sum(len(w["pipelines"]) for _, w in wires), 0
        self._calls, self._blocks = {}, []
        for program, wire in wires:
            pipelines = []
            for spec in wire["pipelines"]:
                pipelines.append(self._pipeline(spec))
                done += 1
                progress(done, total)
            blocks = self.device.create_buffer_with_data(data=array("I", wire["blocks"]), usage=wgpu.BufferUsage.UNIFORM)
            self._blocks.append(blocks)
            self._calls[program.name] = []
            for call, (pipeline, _, _, at) in zip(program.calls, wire["calls"], strict=True):
                layout, compiled = pipelines[pipeline]
                entries = [{"binding": i, "resource": r} for i, r in enumerate([_whole(self._step), *map(self._resource, call.buffers)])]
                if wire["pipelines"][pipeline]["block"]:
                    entries.append({"binding": 15, "resource": {"buffer": blocks, "offset": at, "size": BLOCK_BYTES}})
                self._calls[program.name].append((compiled, self.device.create_bind_group(layout=layout, entries=entries), call))

    def _resource(self, buffer: Buffer) -> Any:
        """What a bind group has for it."""
        memory = self.memory[buffer.name]
        return memory.create_view() if buffer.texel else _whole(memory)

    def _pipeline(self, spec: dict[str, Any]) -> tuple[Any, Any]:
        label, code = spec["label"], spec["code"]
        if code not in self._modules:
            bindings = [*enumerate(spec["bindings"]), *[(15, "uniform")] * spec["block"]]
            entries = [{"binding": i, "visibility": 4, **_layout(binding)} for i, binding in bindings]  # 4: compute
            layout = self.device.create_bind_group_layout(entries=entries)
            try:
                module = self.device.create_shader_module(label=label, code=code.replace(SUBGROUPS, ""))
                pipeline = self.device.create_compute_pipeline(
                    label=label,
                    layout=self.device.create_pipeline_layout(bind_group_layouts=[layout]),
                    compute={"module": module, "entry_point": "main"},
                )
            except Exception as e:  # wgpu has several types for what a driver refuses
                raise RwkvError("kernel-failed", kernel=label, reason=str(e)) from e
            self._modules[code] = (layout, pipeline)
        pair: tuple[Any, Any] = self._modules[code]
        return pair

    async def upload(self, shard: Any, uploads: Sequence[Upload]) -> None:
        for u in uploads:
            data = gathered(u, shard, self._kept)
            if u.buffer:
                self.write(u.buffer, u.to, data + bytes(-len(data) % 4))

    async def run(self, program: str, step: Step, read: str = "", nbytes: int = 0, *, then: str = "", times: int = 1) -> bytes:
        self.queue.write_buffer(self._step, 0, step.encode())
        encoder = self.device.create_command_encoder()
        compute = encoder.begin_compute_pass()
        for pipeline, bindings, call in (self._calls[program] + (self._calls[then] if then else [])) * times:
            x, y = (d.workgroups(step) for d in call.grid)
            if x * y:
                compute.set_pipeline(pipeline)
                compute.set_bind_group(0, bindings)
                compute.dispatch_workgroups(x, y)
        compute.end()
        self.queue.submit([encoder.finish()])
        if read:
            return bytes(self.queue.read_buffer(self.memory[read], 0, nbytes))
        self.queue.read_buffer(self._step, 0, 4)  # waits for the work; wgpu 0.32's on_submitted_work_done raises a TypeError
        return b""

    def write(self, buffer: str, at: int, data: bytes) -> None:
        memory, texel = self.memory[buffer], self.buffers[buffer].texel
        if not texel:
            self.queue.write_buffer(memory, at, data)
            return
        view = memoryview(data)
        for first, origin, size in rectangles(at, len(data), texel):
            place = {"texture": memory, "origin": origin}
            self.queue.write_texture(place, view[first : first + size[0] * size[1] * texel], {"bytes_per_row": TEXTURE_ROW}, size)

    def clear(self, buffer: str, at: int, nbytes: int) -> None:
        encoder = self.device.create_command_encoder()
        encoder.clear_buffer(self.memory[buffer], at, nbytes)
        self.queue.submit([encoder.finish()])

    async def read(self, buffer: str, nbytes: int) -> bytes:
        return bytes(self.queue.read_buffer(self.memory[buffer], 0, nbytes))

    def _states(self) -> list[Buffer]:
        return [b for b in self.buffers.values() if b.role == "state"]

    async def read_state(self, slot: int) -> dict[str, bytes]:
        return {b.name: bytes(self.queue.read_buffer(self.memory[b.name], *slot_span(b, slot))) for b in self._states()}

    def write_state(self, slot: int, state: dict[str, bytes]) -> None:
        for b in self._states():
            self.queue.write_buffer(self.memory[b.name], slot_span(b, slot)[0], state[b.name])

    def copy_state(self, source: int, target: int) -> None:
        """Through a buffer in between: WebGPU copies nothing within one buffer."""
        spans = [(self.memory[b.name], *slot_span(b, source), slot_span(b, target)[0]) for b in self._states()]
        between = self.device.create_buffer(size=sum(size for _, _, size, _ in spans), usage=12)  # COPY_SRC | COPY_DST
        encoder = self.device.create_command_encoder()
        for out in (False, True):
            at = 0
            for memory, first, size, to in spans:
                if out:
                    encoder.copy_buffer_to_buffer(between, at, memory, to, size)
                else:
                    encoder.copy_buffer_to_buffer(memory, first, between, at, size)
                at += size
        self.queue.submit([encoder.finish()])
        between.destroy()

    def clear_state(self, slot: int) -> None:
        encoder = self.device.create_command_encoder()
        for b in self._states():
            encoder.clear_buffer(self.memory[b.name], *slot_span(b, slot))
        self.queue.submit([encoder.finish()])

    def gpu_bytes(self) -> int:
        return sum(b.nbytes for b in self.buffers.values()) + STEP_BYTES + sum(int(b.size) for b in self._blocks)

    def close(self) -> None:
        self._destroy(self.memory)
        self.memory = {}
        self._calls.clear()

    def _destroy(self, memory: dict[str, Any]) -> None:
        for name, buffer in memory.items():
            if buffer is not self._lent.get(name):
                buffer.destroy()


def _layout(binding: str) -> dict[str, Any]:
    """The entry of a bind group layout for one of `Buffer.binding`'s kinds."""
    if binding == "texture":
        return {"texture": {"sample_type": "uint"}}
    if binding in TEXEL_FORMATS.values():
        return {"storage_texture": {"access": "read-only", "format": binding}}
    return {"buffer": {"type": binding}}


def _whole(buffer: Any) -> dict[str, Any]:
    return {"buffer": buffer, "offset": 0, "size": buffer.size}


def _subgroups(info: Any) -> tuple[int, int]:
    """wgpu 0.32 calls them `stackgroup_…`, and knows no better than 4 to 128 of the software adapters."""
    if match := re.search(r"^llvmpipe .*?(\d+) bits|^(SwiftShader)", info["device"]):
        return (4, 4) if match[2] else (int(match[1]) // 32,) * 2
    least, most = (info.get(f"subgroup_{end}_size", info.get(f"stackgroup_{end}_size", 0)) for end in ("min", "max"))
    return int(least), int(most)
