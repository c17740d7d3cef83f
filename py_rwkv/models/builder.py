"""From a model's description to a Program: buffers made from packed tensors, kernel calls with their grids.

Model files (`rwkv7.py`) use it to say *what* runs; tile sizes and slab cuts are decided here, from the tuning and the adapter's limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.kernels import KERNELS, topk
from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import Value
from py_rwkv.program import MAX_ROWS, Buffer, Call, Part, Program


class TensorMeta(Protocol):
    """Of a packed tensor (docs/architecture.md): safetensors dtype and shape."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Limits:
    """What the builder must respect; the defaults every WebGPU adapter grants."""

    binding_bytes: int = 128 << 20  # maxStorageBufferBindingSize
    buffer_bytes: int = 256 << 20  # maxBufferSize
    workgroups: int = 65535  # per dimension


@dataclass(frozen=True)
class Tuning:
    """Tile sizes of the kernels that have a choice. Barriers are what software adapters cannot afford (~30 µs each in SwiftShader)."""

    tile: str = "4x1"  # weight rows × tokens that an invocation (or a group of lanes) computes
    lanes: int = 1  # invocations that share a tile
    workgroup: int = 16
    norm_workgroup: int = 16
    norm_channels: int = 4  # vec4s of a row per invocation
    wkv_rows: int = 4  # state rows per invocation
    chunk: int = 32  # rows of a prefill step: at most ~100 ms, so that stop works at any time

    @property
    def reduce(self) -> str:
        return "one" if self.lanes == 1 else "many"


SOFTWARE = Tuning()
HARDWARE = Tuning(lanes=16, workgroup=64, norm_workgroup=64, norm_channels=1, wkv_rows=1, chunk=128)


def prefill_tuning(decode: Tuning) -> Tuning:
    """The tile for many rows at once: each decoded weight serves several tokens."""
    return replace(decode, tile="4x4")


ENCODINGS = {"F32": "f32", "F16": "f16", "I8": "int8"}


@dataclass(frozen=True)
class Matrix:
    """A weight matrix on the device: [rows, columns] in one encoding; `scales` is `weights` again where the encoding has none."""

    weights: Buffer
    scales: Buffer
    rows: int
    columns: int


class Builder:
    """Collects the calls of one Program."""

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, TensorMeta],
        *,
        tuning: Tuning,
        limits: Limits,
        slots: int,
        max_rows: int = MAX_ROWS,
        max_outputs: int = 1,
    ) -> None:
        self.tensors, self.tuning, self.limits, self.slots = tensors, tuning, limits, slots
        self.program = Program(name, max_rows=max_rows, max_outputs=max_outputs)
        self.point = ""
        self.row_count = {"rows": max_rows, "outputs": max_outputs}

    # ── buffers ──

    def scratch(self, name: str, *shape: int, dtype: str = "f32", role: str = "scratch") -> Buffer:
        """Device memory without a meaning between steps; the same name is the same memory, so layers share it."""
        return self._checked(Buffer(name, shape, dtype, role))

    def state(self, name: str, *shape: int) -> Buffer:
        """Memory that lasts: one row of `shape` per slot."""
        return self._checked(Buffer(f"state.{name}", (self.slots, *shape), "f32", "state"))

    def vectors(self, name: str, tensors: Sequence[str], length: int) -> Buffer:
        """Vectors of one length stacked: f32 [len(tensors), length]. A tensor the model lacks leaves zeros."""
        parts = tuple(Part(t, 0, 1, 4 * length, 4 * length * i) for i, t in enumerate(tensors) if t in self.tensors)
        for part in parts:
            if prod(self.tensors[part.tensor].shape) != length:
                raise RwkvError("internal", reason=f"{part.tensor} has shape {self.tensors[part.tensor].shape}, not {length} values")
        return self._checked(Buffer(name, (len(tensors), length), "f32", "weight", parts))

    def matrix(self, name: str, tensors: Sequence[str], columns: int, *, align: int = 1, span: tuple[int, int] | None = None) -> Matrix:
        """Matrices stacked by rows in one buffer, each starting at a multiple of `align` rows; `span`: only these rows of a single matrix."""
        encodings = {ENCODINGS[self.tensors[t].dtype] for t in tensors}
        if len(encodings) != 1:
            raise RwkvError("internal", reason=f"{name} stacks matrices of different encodings: {sorted(encodings)}")
        [encoding] = encodings
        row_bytes = w.row_bytes(encoding, columns)
        parts: dict[str, list[Part]] = {suffix: [] for suffix in row_bytes}
        rows = 0
        for tensor in tensors:
            first, count = span or (0, self.rows_of(tensor))
            for suffix in parts:
                parts[suffix].append(Part(tensor + suffix, first, count, row_bytes[suffix], rows * row_bytes[suffix]))
            rows += -(-count // align) * align
        weights = self._checked(Buffer(name, (rows * row_bytes[""],), "u8", "weight", tuple(parts[""]), encoding=encoding))
        if ".scale" not in parts:
            return Matrix(weights, weights, rows, columns)
        return Matrix(
            weights,
            self._checked(Buffer(f"{name}.scale", (rows * row_bytes[".scale"],), "u8", "weight", tuple(parts[".scale"]))),
            rows,
            columns,
        )

    def stack(self, name: str, tensors: Sequence[tuple[str, int]]) -> Matrix:
        """Matrices of different widths (name, columns) back to back in one buffer."""
        pieces = [self.matrix(tensor, [tensor], columns) for tensor, columns in tensors]
        if len({p.weights.encoding for p in pieces}) != 1:
            raise RwkvError("internal", reason=f"{name} stacks matrices of different encodings")

        def joined(label: str, buffers: list[Buffer]) -> Buffer:
            parts, at = [], 0
            for buffer in buffers:
                parts += [Part(p.tensor, p.first, p.rows, p.row_bytes, at + p.at) for p in buffer.parts]
                at += buffer.shape[0]
            return self._checked(Buffer(label, (at,), "u8", "weight", tuple(parts), encoding=buffers[0].encoding))

        weights = joined(name, [p.weights for p in pieces])
        scales = joined(f"{name}.scale", [p.scales for p in pieces]) if pieces[0].scales is not pieces[0].weights else weights
        return Matrix(weights, scales, sum(p.rows for p in pieces), 0)

    def slabs(self, tensor: str, columns: int) -> list[tuple[int, Matrix]]:
        """A matrix cut by rows so that each piece fits one binding: (first row, matrix)."""
        rows = self.rows_of(tensor)
        most = max(64, self.limits.binding_bytes // w.row_bytes(ENCODINGS[self.tensors[tensor].dtype], columns)[""] // 64 * 64)
        starts = range(0, rows, most)
        names = [tensor] if len(starts) == 1 else [f"{tensor}.{s}" for s in starts]
        return [(s, self.matrix(n, [tensor], columns, span=(s, min(most, rows - s)))) for s, n in zip(starts, names, strict=True)]

    def rows_of(self, tensor: str) -> int:
        """Rows of a matrix, repeated ones counted as often as they stand for."""
        repeated = self.tensors.get(f"{tensor}.rows")
        return repeated.shape[0] if repeated else self.tensors[tensor].shape[0]

    def _checked(self, buffer: Buffer) -> Buffer:
        if buffer.nbytes > self.limits.binding_bytes:
            raise RwkvError("model-too-big", what=buffer.name, need=buffer.nbytes, limit=self.limits.binding_bytes)
        return buffer

    # ── calls ──

    def call(self, kernel: str, constants: Mapping[str, Value], buffers: Sequence[Buffer], weight_bytes: int | None = None) -> Buffer:
        """Append a dispatch at the current point; returns the last buffer it writes."""
        if weight_bytes is None:
            weight_bytes = sum(b.nbytes for b in {b.name: b for b in buffers}.values() if b.role == "weight")
        grid = KERNELS[kernel].grid(constants)
        for dim in grid:
            most = -(-self.row_count.get(dim.count, 1) * dim.per // dim.tile)
            if most > self.limits.workgroups:
                raise RwkvError("internal", reason=f"{kernel} at {self.point} needs {most} workgroups in one dimension")
        self.program.calls.append(Call(kernel, dict(constants), tuple(buffers), grid, self.point, weight_bytes))
        return buffers[-1]

    def embed(self, tensor: str, out: Buffer, columns: int) -> Buffer:
        """out[t] = table[token_t]."""
        for first, table in self.slabs(tensor, columns):
            layout = w.layout(table.weights.encoding, columns)
            constants = {"C": columns, "FIRST": first, "COUNT": table.rows, "WG": 16} | layout
            one_row = (table.weights.nbytes + (table.scales.nbytes if table.scales is not table.weights else 0)) // table.rows
            self.call("embed", constants, [table.weights, table.scales, out], weight_bytes=one_row if first == 0 else 0)
        return out

    def layer_mix(self, x: Buffer, norm: Buffer, mu: Buffer, prev: Buffer, out: Buffer, *, keep: bool = False) -> Buffer:
        """LayerNorm + token shift + as many interpolations as `mu` has rows; `keep`: and the difference they interpolate over."""
        sources, channels = mu.shape
        constants = {"C": channels, "S": sources, "KEEP": int(keep)} | self._norm()
        return self.call("layer_mix", constants, [x, norm, mu, prev, out])

    def layer_norm(self, x: Buffer, norm: Buffer, out: Buffer) -> Buffer:
        """LayerNorm of the output rows."""
        channels = norm.shape[1]
        return self.call("layer_norm", {"C": channels} | self._norm(), [x, norm, out])

    def matmul(
        self,
        m: Matrix,
        x: Buffer,
        out: Buffer,
        *,
        act: int = 0,
        add: bool = False,
        gate: int | None = None,
        per: str = "rows",
        stride: int = 0,
        at: int = 0,
    ) -> Buffer:
        """out = act(m x), or out += m x, or out += gate · m x with the gate at that column of x."""
        more = {"ACT": act, "ADD": int(add) if gate is None else 2, "PER_OUTPUT": int(per == "outputs")}
        more |= {"OUT_STRIDE": stride or m.rows, "OUT_AT": at, "X_STRIDE": m.columns if gate is None else x.shape[-1], "GATE_AT": gate or 0}
        return self.call("matmul", self.tile(m) | more, [m.weights, m.scales, x, out])

    def project(self, m: Matrix, x: Buffer, table: Buffer, out: Buffer) -> Buffer:
        """Stacked matrices, each with its own input and activation (`table`)."""
        constants = self.tile(m) | {"TILES": m.rows // 16, "S": x.shape[0]}
        return self.call("project", constants, [m.weights, m.scales, x, table, out])

    def topk(self, logits: Buffer, vocab: int, limit: int) -> Buffer:
        """The best 256 logits of every output and log Σ exp: u32 [outputs, 4 + 2 K]."""
        c, outputs = topk.sizes(vocab, limit), self.program.max_outputs
        best = self.scratch("topk.best", outputs, c["GROUPS"], 4)
        threshold = self.scratch("topk.threshold", outputs, 4, dtype="u32")
        found = self.scratch("topk.found", outputs, c["CAPACITY"], dtype="u32")
        candidates = self.scratch("candidates", outputs, 4 + 2 * c["K"], dtype="u32", role="output")
        self.call("topk_groups", c, [logits, best])
        self.call("topk_threshold", c, [best, threshold])
        self.call("topk_gather", c, [logits, best, threshold, found])
        return self.call("topk_rank", c, [logits, threshold, found, candidates])

    def tile(self, m: Matrix) -> dict[str, Any]:
        """The constants of every kernel that multiplies a matrix."""
        t = self.tuning
        tile = {"tile": t.tile, "LANES": t.lanes, "WG": t.workgroup, "reduce": t.reduce}
        return {"M": m.rows, "K": m.columns} | w.layout(m.weights.encoding, m.columns) | tile

    def _norm(self) -> dict[str, Any]:
        return {"PER": self.tuning.norm_channels, "WG": self.tuning.norm_workgroup, "reduce": self.tuning.reduce}
