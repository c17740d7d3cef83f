"""The Program: a model as plain data. Buffers, kernel calls in order, and the step block that drives one replay.

A Program knows shapes and bytes, not devices: the numpy device interprets it, `wgpu` and the page compile it once and replay it with one call per step.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from py_rwkv.kernels.base import KERNELS, Dim, Value, call_block, render

MAX_ROWS = 128  # rows (tokens) in one step; also the length of `Step.entries` in shaders/lib/step.wgsl
STEP_BYTES = 16 + 32 * MAX_ROWS
BLOCK_BYTES = 256  # each call's uniform block starts at a multiple: minUniformBufferOffsetAlignment of every adapter
ITEM_BYTES = {"f32": 4, "u32": 4, "u8": 1}
TEXEL_FORMATS = {4: "r32uint", 8: "rg32uint", 16: "rgba32uint"}  # by bytes
TEXTURE_ROW = 16384  # bytes of a row of texels: shaders find a texel by shifts
ROLES = ("weight", "constant", "state", "scratch", "output")


@dataclass(frozen=True)
class Part:
    """Rows `first … first + rows` of a packed tensor, copied to byte `at` of a buffer (`row_bytes` bytes a row). `distinct`: of the rows as they are stored,
    each once, though the tensor has an index of them."""

    tensor: str
    first: int
    rows: int
    row_bytes: int
    at: int
    distinct: bool = False


@dataclass(frozen=True)
class Buffer:
    """A named piece of device memory. `state` buffers start with an axis of slots, one slot per session."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    parts: tuple[Part, ...] = ()  # weight: where its bytes come from
    data: bytes = b""  # constant: its bytes
    encoding: str = ""  # weight matrices: how kernels decode them
    held: str = "buffers"  # as in `Tuning`
    texel: int = 0  # bytes of one, if it is held in a texture

    @property
    def nbytes(self) -> int:
        """Bytes on the device: whole rows of a texture, or what is used."""
        return -(-self.used // TEXTURE_ROW) * TEXTURE_ROW if self.texel else self.used

    @property
    def used(self) -> int:
        """Bytes that hold something: a multiple of 16, as a vec4 load never runs over the end."""
        return -(-prod(self.shape) * ITEM_BYTES[self.dtype] // 16) * 16

    @property
    def format(self) -> str:
        """Of the texture it is held in; "" for a buffer."""
        return TEXEL_FORMATS[self.texel] if self.texel else ""

    @property
    def binding(self) -> str:
        """How shaders that only read it are bound to it: a buffer type of WebGPU, "texture", or a format, for an image."""
        return "read-only-storage" if not self.texel else "texture" if self.held == "textures" else self.format


@dataclass(frozen=True)
class Call:
    """One dispatch: a kernel with its constants, its buffers in declaration order, and its grid."""

    kernel: str
    constants: Mapping[str, Value]
    buffers: tuple[Buffer, ...]
    grid: tuple[Dim, ...]  # x and y
    point: str  # where in the model: "layer.3.att.output"; hooks, dumps and profiles use this name
    weight_bytes: int  # weight bytes one token makes it read


@dataclass(frozen=True)
class Point:
    """A named value in memory, f32 [tokens, columns]; `tokens` are the step's rows, or its outputs (`count`).

    Element (t, c) lies at (plane · tokens + t) · stride + first + c of the buffer.
    """

    name: str  # "layer.3.att.k"; the table of names is docs/hooks.md
    buffer: Buffer
    columns: int
    stride: int
    first: int = 0
    plane: int = 0
    count: str = "rows"

    @property
    def layer(self) -> str:
        """What the names of the same layer start with: "layer.3.", or ""."""
        return ".".join(self.name.split(".")[:2]) + "." if self.name.startswith("layer.") else ""

    @property
    def planes(self) -> int:
        """Planes of [tokens, stride] from the start of the buffer to the end of this one."""
        return self.plane + 1

    def constants(self, prefix: str = "") -> dict[str, int]:
        """The place as constants of a kernel that binds the buffer as `f32[PLANES*tokens,STRIDE]`; PER_OUTPUT (without prefix) tells which tokens."""
        place = {"COLUMNS": self.columns, "STRIDE": self.stride, "FIRST": self.first, "PLANE": self.plane, "PLANES": self.planes}
        return {prefix + name: value for name, value in place.items()} | ({} if prefix else {"PER_OUTPUT": int(self.count == "outputs")})


@dataclass(frozen=True)
class Cut:
    """Where a replay stops for a Python function: before call number `at`, when the point's value is complete."""

    at: int
    point: Point
    callback: Any  # a py_rwkv.hooks.CallbackFunction
    live: Mapping[str, Point]  # what is in memory then


@dataclass(frozen=True)
class Run:
    """Consecutive tokens of one session in a step (NO_TOKEN: an embedding). `outputs`: how many of its last rows need logits; `masked`: only tokens that
    the buffer `masks` allows are candidates for them."""

    slot: int
    tokens: Sequence[int]
    outputs: int = 1
    masked: bool = False


@dataclass(frozen=True)
class Step:
    """What one replay works on: a few runs, laid out row after row."""

    tokens: tuple[int, ...]
    slots: tuple[int, ...]  # per row
    spans: tuple[tuple[int, int], ...]  # per run: first and last row
    output_rows: tuple[int, ...]
    masked: tuple[bool, ...]  # per output

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Step:
        """Lay out the runs. Raises ValueError for an empty or over-full step, an unknown slot order is the caller's business."""
        tokens: list[int] = []
        slots: list[int] = []
        spans: list[tuple[int, int]] = []
        outputs: list[int] = []
        masked: list[bool] = []
        for run in runs:
            first = len(tokens)
            tokens.extend(run.tokens)
            slots.extend([run.slot] * len(run.tokens))
            spans.append((first, len(tokens) - 1))
            outputs.extend(range(len(tokens) - run.outputs, len(tokens)))
            masked.extend([run.masked] * run.outputs)
        if not 0 < len(tokens) <= MAX_ROWS:
            raise ValueError(f"a step takes 1 to {MAX_ROWS} rows, not {len(tokens)}")
        return cls(tuple(tokens), tuple(slots), tuple(spans), tuple(outputs), tuple(masked))

    @property
    def rows(self) -> int:
        return len(self.tokens)

    @property
    def runs(self) -> int:
        return len(self.spans)

    @property
    def outputs(self) -> int:
        return len(self.output_rows)

    @property
    def lone(self) -> int:
        """Outputs, if it is one."""
        return self.outputs if self.outputs == 1 else 0

    @property
    def several(self) -> int:
        """Outputs, if they are several."""
        return self.outputs if self.outputs > 1 else 0

    def encode(self) -> bytes:
        """The uniform block of shaders/lib/step.wgsl, as long as its last used entry."""
        words = array("I", bytes(16 + 32 * self.rows))
        words[:3] = array("I", (self.rows, self.runs, self.outputs))
        words[4::8], words[5::8] = array("I", self.tokens), array("I", self.slots)
        for i, (first, last) in enumerate(self.spans):
            words[8 + 8 * i] = first
            for row in range(first, last + 1):
                words[6 + 8 * row], words[7 + 8 * row] = first, last
        words[9 : 9 + 8 * self.outputs : 8] = array("I", self.output_rows)
        words[10 : 10 + 8 * self.outputs : 8] = array("I", self.masked)
        return words.tobytes()


@dataclass
class Program:
    """Calls in order over named buffers, for steps of at most `max_rows` rows and `max_outputs` outputs."""

    name: str
    calls: list[Call] = field(default_factory=list)
    max_rows: int = MAX_ROWS
    max_outputs: int = 1
    points: dict[str, Point] = field(default_factory=dict)  # in the order in which they are complete
    cuts: list[Cut] = field(default_factory=list)

    @property
    def buffers(self) -> dict[str, Buffer]:
        return {b.name: b for call in self.calls for b in call.buffers}

    @property
    def dispatches(self) -> int:
        return len(self.calls)

    def dispatches_of(self, prefix: str) -> int:
        """How many calls lie at points that start with `prefix`, e.g. "layer.0."."""
        return sum(call.point.startswith(prefix) for call in self.calls)

    @property
    def bytes_per_token(self) -> int:
        """Weight bytes read to decode one token."""
        return sum(call.weight_bytes for call in self.calls)

    def bytes_by_role(self) -> dict[str, int]:
        return {role: sum(b.nbytes for b in self.buffers.values() if b.role == role) for role in ROLES}

    def __str__(self) -> str:
        head = f"{'#':>4}  {'kernel':<15} {'point':<26} {'workgroups':<22} {'MB/token':>8}  in -> out\n"
        lines = []
        for i, call in enumerate(self.calls):
            kernel = KERNELS[call.kernel]
            names = [b.name for b in call.buffers]
            reads, writes = names[: len(kernel.reads)], names[len(kernel.reads) :]
            grid = " × ".join(_dim_text(d) for d in call.grid if d != Dim())
            lines.append(
                f"{i:>4}  {call.kernel:<15} {call.point:<26} {grid or '1':<22} {call.weight_bytes / 1e6:>8.2f}  {', '.join(reads)} -> {', '.join(writes)}"
            )
        layers = len({c.point.split(".")[1] for c in self.calls if c.point.startswith("layer.")})
        each = f", {self.dispatches_of('layer.') / layers:.1f} per layer" if layers else ""
        return head + "\n".join(lines) + f"\n{self.dispatches} dispatches{each}, {self.bytes_per_token / 1e6:.1f} MB read per token\n"

    def to_wire(self) -> dict[str, Any]:
        """What an executor needs, as plain JSON data: rendered WGSL (each text once), buffers, calls. Constant buffers carry their words.

        A call: its pipeline, its buffers, its grid, and the byte of `blocks` (given as words) where its uniform block starts, which it sees at binding 15.
        """
        names = {name: i for i, name in enumerate(self.buffers)}
        codes: dict[str, int] = {}
        blocks: dict[bytes, int] = {}
        pipelines: list[dict[str, Any]] = []
        calls = []
        rendered: dict[tuple[Any, ...], tuple[str, bytes]] = {}  # layers have the same constants
        for call in self.calls:
            key = (call.kernel, *call.constants.items())
            if key not in rendered:
                rendered[key] = render(call.kernel, call.constants), call_block(call.kernel, call.constants)
            code, block = rendered[key]
            at = blocks.setdefault(block.ljust(BLOCK_BYTES, b"\0"), BLOCK_BYTES * len(blocks))
            if code not in codes:
                kernel = KERNELS[call.kernel]
                codes[code] = len(codes)
                bindings = ["storage" if kernel.writes_step else "uniform", *(b.binding for b in call.buffers[: len(kernel.reads)])]
                bindings += ["storage"] * len(kernel.writes)
                pipelines.append({"label": call.kernel, "code": code, "bindings": bindings, "block": bool(block)})
            calls.append([codes[code], [names[b.name] for b in call.buffers], [[d.per, d.tile, d.count] for d in call.grid], at])
        buffers = [
            {
                "name": b.name,
                "bytes": b.nbytes,
                "texel": b.texel,
                "held": b.held,
                "role": b.role,
                "words": list(memoryview(b.data).cast("I")) if b.data else [],
            }
            for b in self.buffers.values()
        ]
        words = list(memoryview(b"".join(blocks)).cast("I"))
        return {"name": self.name, "pipelines": pipelines, "buffers": buffers, "calls": calls, "blocks": words, "stepBytes": STEP_BYTES}


def _dim_text(dim: Dim) -> str:
    text = f"{dim.per}" if dim.count == "1" else dim.count if dim.per == 1 else f"{dim.per}·{dim.count}"
    return text if dim.tile == 1 else f"⌈{text}/{dim.tile}⌉"
