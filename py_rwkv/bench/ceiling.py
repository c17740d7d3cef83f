"""What the adapter itself can do, measured with the same replay that runs models: memory bandwidth, and what a dispatch that does nothing costs.

Decoding a token cannot take less than its weight bytes at the read bandwidth, nor less than its dispatches empty. The fraction of these limits that a model
reaches says more than tokens per second. Programs here are plain Programs, so every device runs them: `wgpu`, numpy, and the page.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from py_rwkv.devices.base import Device
from py_rwkv.kernels.base import KERNELS, Dim, kernel
from py_rwkv.models.builder import Limits
from py_rwkv.program import Buffer, Call, Program, Run, Step

ONE = Step.of([Run(0, [0])])
EMPTY = 256  # dispatches of the `empty` program
PASSES = 4  # times the `read` and `copy` programs go over their buffer
MOST_BYTES = 256 << 20  # larger than any cache
PER = 32  # vec4s an invocation reads

_STEP = "//!include lib/step.wgsl\nconst WG: u32 = 64u;\nconst STRIDED: u32 = 0u;\nconst THREADS: u32 = 64u;\nconst PER: u32 = 32u;\n"
_INDEX = """@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let id = group.x * WG + local;
    let first = select(id * PER, id, STRIDED == 1u);  // neighbours read neighbouring vec4s, or each its own stretch
    let stride = select(1u, THREADS, STRIDED == 1u);
"""
_shape = {"THREADS": 128, "PER": 8, "VECTORS": 1024, "WG": 64, "STRIDED": 0}
_cases = (_shape, {**_shape, "STRIDED": 1})
_constants = ("WG", "STRIDED", "THREADS", "PER")


def _grid(c: Any) -> tuple[Dim, ...]:
    return (Dim(c["THREADS"], c["WG"]), Dim())


read = kernel(
    "bench_read",
    reads={"source": "f32[VECTORS,4]"},
    writes={"out": "f32[THREADS,4]"},
    constants=_constants,
    grid=_grid,
    cases=_cases,
    wgsl=f"""// bench_read: out[thread] = Σ of the thread's vec4s of `source`.
{_STEP}@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
{_INDEX}    var sum = vec4<f32>(f32(batch.rows) * 0.0);
    for (var i = 0u; i < PER; i++) {{ sum += source[first + i * stride]; }}
    out[id] = sum;
}}
""",
)

copy = kernel(
    "bench_copy",
    reads={"source": "f32[VECTORS,4]"},
    writes={"out": "f32[VECTORS,4]"},
    constants=_constants,
    grid=_grid,
    cases=_cases,
    wgsl=f"""// bench_copy: out = source.
{_STEP}@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
{_INDEX}    for (var i = 0u; i < PER; i++) {{ out[first + i * stride] = source[first + i * stride] + f32(batch.rows) * 0.0; }}
}}
""",
)

count = kernel(
    "bench_count",
    reads={},
    writes={"out": "f32[4]"},
    constants=(),
    grid=lambda c: (Dim(), Dim()),
    wgsl="""// bench_count: out[0] += 1 by one invocation. Each dispatch needs what the one before it wrote, as in a model.
//!include lib/step.wgsl
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1)
fn main() { out[0] += min(f32(batch.rows), 1.0); }
""",
)


@read.reference
def _(step: Any, c: Any, memo: Any, source: Any, out: Any) -> None:
    out[:] = source.reshape(c.PER, c.THREADS, 4).sum(0) if c.STRIDED else source.reshape(c.THREADS, c.PER, 4).sum(1)


@copy.reference
def _(step: Any, c: Any, memo: Any, source: Any, out: Any) -> None:
    out[:] = source


@count.reference
def _(step: Any, c: Any, memo: Any, out: Any) -> None:
    out[0] += 1


def programs(limits: Limits, most: int = MOST_BYTES) -> list[Program]:
    """`one` and `empty` (1 and EMPTY dispatches that do nothing), and `read` and `copy` in both access patterns, once and PASSES times over."""
    nbytes = min(most, limits.binding_bytes, limits.buffer_bytes) // (16 * PER * 1024) * (16 * PER * 1024)
    vectors = nbytes // 16
    source, target = Buffer("bench.source", (vectors, 4), "f32", "scratch"), Buffer("bench.target", (vectors, 4), "f32", "scratch")
    counter = Buffer("bench.counter", (4,), "f32", "output")

    def repeated(name: str, times: int, kind: str, constants: dict[str, Any], *buffers: Buffer) -> Program:
        grid = KERNELS[kind].grid(constants)
        return Program(name, [Call(kind, constants, buffers, grid, name, 0)] * times)

    made = [repeated("one", 1, "bench_count", {}, counter), repeated("empty", EMPTY, "bench_count", {}, counter)]
    for strided in (0, 1):
        c = {"THREADS": vectors // PER, "PER": PER, "VECTORS": vectors, "WG": 64, "STRIDED": strided}
        for kind in ("read", "copy"):
            for times in (1, PASSES):
                made.append(repeated(f"{kind}.{strided}.{times}", times, f"bench_{kind}", c, source, target))
    return made


@dataclass(frozen=True)
class Ceiling:
    """Of one device. GB/s of 10⁹ bytes; `copy` counts bytes read and written, as memory benchmarks do."""

    read_gb_s: float
    copy_gb_s: float
    dispatch_us: float  # of one more dispatch that depends on the one before
    roundtrip_us: float  # one dispatch, one submit, 16 bytes back

    @property
    def best_gb_s(self) -> float:
        """The faster of both: an adapter's reading kernel may be slower than its copying one, and weights are only read."""
        return max(self.read_gb_s, self.copy_gb_s)

    def limits(self, bytes_per_token: int, dispatches: int) -> dict[str, float]:
        """Tokens/s that neither memory nor dispatches would let a decoder exceed if it did nothing else."""
        return {
            "memory_tok_s": self.best_gb_s * 1e9 / bytes_per_token,
            "dispatch_tok_s": 1e6 / (self.roundtrip_us + self.dispatch_us * (dispatches - 1)),
        }


async def fastest(device: Device, program: str, step: Step, repeat: int, read: str = "", nbytes: int = 0, before: str = "") -> float:
    """Seconds of the fastest of `repeat` replays, after one that is not counted; `before`: another program to replay before each."""
    best = float("inf")
    for i in range(repeat + 1):
        if before:
            await device.run(before, step)
        start = time.perf_counter()
        await device.run(program, step, read, nbytes)
        if i:
            best = min(best, time.perf_counter() - start)
    return best


async def measure(device: Device, *, most: int = MOST_BYTES, repeat: int = 5) -> Ceiling:
    """Measure on a device of its own (its buffers are replaced); minima, so that another program's load does not count."""
    made = programs(device.limits, most)
    await device.allocate(made)
    await device.compile(lambda done, total: None)
    trips = [(p.name, "bench.counter", 16, 4 * repeat) if p.name in ("one", "empty") else (p.name, "", 0, repeat) for p in made]
    seconds = {name: await fastest(device, name, ONE, times, read, nbytes) for name, read, nbytes, times in trips}
    return derived(seconds, made[-1].buffers["bench.source"].nbytes)


def derived(seconds: Mapping[str, float], nbytes: int) -> Ceiling:
    """From the seconds of each of `programs` over buffers of `nbytes`. A pass costs what PASSES of them take more than one, by the better access pattern."""

    def speed(kind: str, passes: int) -> float:
        more = [max(seconds[f"{kind}.{strided}.{PASSES}"] - seconds[f"{kind}.{strided}.1"], 1e-9) / (PASSES - 1) for strided in (0, 1)]
        return passes * nbytes / min(more) / 1e9

    dispatch = max(seconds["empty"] - seconds["one"], 0.0) / (EMPTY - 1)
    return Ceiling(speed("read", 1), speed("copy", 2), dispatch * 1e6, seconds["one"] * 1e6)
