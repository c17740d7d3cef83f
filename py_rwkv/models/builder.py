"""From a model's description to a Program: buffers made from packed tensors, kernel calls with their grids.

Model files (`rwkv7.py`) use it to say *what* runs; tile sizes and slab cuts are decided here, from the tuning and the adapter's limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback, Hook, matches, wants
from py_rwkv.kernels import KERNELS, topk
from py_rwkv.kernels import weights as w
from py_rwkv.kernels.base import Value
from py_rwkv.kernels.matmul import TOKENS, write
from py_rwkv.kernels.row_index import WIDTHS, index
from py_rwkv.models.tuning import ONE_TOKEN, Tuning
from py_rwkv.program import MAX_ROWS, TEXTURE_ROW, Buffer, Call, Cut, Part, Point, Program
from py_rwkv.quant import ENCODINGS


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
    texture_rows: int = 8192  # maxTextureDimension2D


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
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.tensors, self.tuning, self.limits, self.slots = tensors, tuning, limits, slots
        self.program = Program(name, max_rows=max_rows, max_outputs=max_outputs)
        self.hooks = hooks
        self._live: dict[str, Point] = {}  # what is in memory at the current call
        self._hooked = False  # the current call is a hook's: it changes values, but gives them no other meaning
        self.point = ""
        self.row_count = {"rows": max_rows, "outputs": max_outputs, "several": max_outputs}

    # ── buffers ──

    def scratch(self, name: str, *shape: int, dtype: str = "f32", role: str = "scratch") -> Buffer:
        """Device memory without a meaning between steps; the same name is the same memory, so layers share it."""
        return self._checked(Buffer(name, shape, dtype, role))

    def state(self, name: str, *shape: int) -> Buffer:
        """Memory that lasts: one row of `shape` per slot. A model's default state is uploaded into slot 0, where the engine fetches it."""
        label, start = f"state.{name}", 4 * prod(shape)
        parts = (Part(label, 0, 1, start, 0),) if label in self.tensors else ()
        return self._checked(Buffer(label, (self.slots, *shape), "f32", "state", parts))

    def vectors(self, name: str, tensors: Sequence[str], length: int) -> Buffer:
        """Vectors of one length stacked: f32 [len(tensors), length]. A tensor the model lacks leaves zeros."""
        parts = tuple(Part(t, 0, 1, 4 * length, 4 * length * i) for i, t in enumerate(tensors) if t in self.tensors)
        for part in parts:
            if prod(self.tensors[part.tensor].shape) != length:
                raise RwkvError("internal", reason=f"{part.tensor} has shape {self.tensors[part.tensor].shape}, not {length} values")
        return self._checked(Buffer(name, (len(tensors), length), "f32", "weight", parts))

    def matrix(
        self, name: str, tensors: Sequence[str], columns: int, *, align: int = 1, span: tuple[int, int] | None = None, held: str = ""
    ) -> Matrix:
        """Matrices stacked by rows in one buffer, each starting at a multiple of `align` rows; `span`: of a single matrix only these of the rows that
        are stored; held: not as the tuning says."""
        encodings = {self.encoding(t, columns) for t in tensors}
        if len(encodings) != 1:
            raise RwkvError("internal", reason=f"{name} stacks matrices of different encodings: {sorted(encodings)}")
        [encoding] = encodings
        row_bytes = w.row_bytes(encoding, columns)
        parts: dict[str, list[Part]] = {suffix: [] for suffix in row_bytes}
        rows = 0
        for tensor in tensors:
            first, count = span or (0, self.rows_of(tensor))
            for suffix, size in row_bytes.items():
                parts[suffix].append(Part(tensor + suffix, first, count, size, rows * size, distinct=span is not None))
            rows += -(-count // align) * align
        sizes = {suffix: rows * row_bytes[suffix] for suffix in parts}
        return Matrix(*self._packed(name, encoding, sizes, parts, held or self.tuning.held), rows, columns)

    def stack(self, name: str, tensors: Sequence[tuple[str, int]]) -> Matrix:
        """Matrices of different widths (name, columns) back to back in one buffer."""
        pieces = [self.matrix(tensor, [tensor], columns) for tensor, columns in tensors]
        if len({p.weights.encoding for p in pieces}) != 1:
            raise RwkvError("internal", reason=f"{name} stacks matrices of different encodings")

        parts: dict[str, list[Part]] = {}
        sizes: dict[str, int] = {}
        for piece in pieces:
            for suffix, buffer in {"": piece.weights, ".scale": piece.scales}.items():
                if suffix and buffer is piece.weights:
                    continue
                at = sizes.get(suffix, 0)
                parts.setdefault(suffix, []).extend(replace(p, at=at + p.at) for p in buffer.parts)
                sizes[suffix] = at + buffer.shape[0]
        packed = self._packed(name, pieces[0].weights.encoding, sizes, parts, self.tuning.held)
        return Matrix(*packed, sum(p.rows for p in pieces), 0)

    def _packed(
        self, name: str, encoding: str, sizes: Mapping[str, int], parts: Mapping[str, Sequence[Part]], held: str
    ) -> tuple[Buffer, Buffer]:
        """Weights and their scales, of so many bytes by suffix; in buffers if they fit into no texture."""
        held = held if max(sizes.values()) <= self.limits.texture_rows * TEXTURE_ROW else "buffers"

        def made(suffix: str) -> Buffer:
            shape, pieces, texel = (sizes[suffix],), tuple(parts[suffix]), w.texel(held, encoding, suffix)
            return self._checked(Buffer(name + suffix, shape, "u8", "weight", pieces, b"", "" if suffix else encoding, held, texel))

        weights = made("")
        return weights, made(".scale") if ".scale" in sizes else weights

    def slabs(self, tensor: str, columns: int, held: str = "") -> list[tuple[int, Matrix]]:
        """A matrix, of whose repeated rows each is there once, cut so that each piece fits one binding: (first row, matrix)."""
        rows = self.tensors[tensor].shape[0]
        most = max(64, self.limits.binding_bytes // w.row_bytes(self.encoding(tensor, columns), columns)[""] // 64 * 64)
        starts = range(0, rows, most)
        names = [tensor] if len(starts) == 1 else [f"{tensor}.{s}" for s in starts]
        return [
            (s, self.matrix(n, [tensor], columns, span=(s, min(most, rows - s)), held=held)) for s, n in zip(starts, names, strict=True)
        ]

    def encoding(self, tensor: str, columns: int) -> str:
        """The encoding whose parts a stored matrix has. RwkvError `internal` if there is none."""
        found = {suffix: self.tensors[tensor + suffix] for suffix in ("", ".scale") if tensor + suffix in self.tensors}
        parts = {suffix: (t.dtype, tuple(t.shape)) for suffix, t in found.items()}
        for encoding in ENCODINGS.values():
            if encoding.layout(found[""].shape[0], w.padded(columns)) == parts:
                return encoding.name
        raise RwkvError("internal", reason=f"{tensor} is no matrix of {columns} columns in any encoding: {parts}")

    def row_index(self, tensor: str) -> tuple[Buffer | None, dict[str, int]]:
        """Which of the rows in `slabs` each row of the matrix is, if it has repeated ones, with the constants of kernels/row_index.py."""
        name = f"{tensor}.rows"
        if name not in self.tensors:
            return None, index(0)
        dtype, (count,) = self.tensors[name].dtype, self.tensors[name].shape
        size = WIDTHS[dtype] // 8
        return self._checked(Buffer(name, (count * size,), "u8", "weight", (Part(name, 0, count, size, 0),))), index(count, dtype)

    def rows_of(self, tensor: str) -> int:
        """Rows of a matrix, repeated ones counted as often as they stand for."""
        repeated = self.tensors.get(f"{tensor}.rows")
        return repeated.shape[0] if repeated else self.tensors[tensor].shape[0]

    def _checked(self, buffer: Buffer) -> Buffer:
        if buffer.nbytes > self.limits.binding_bytes:
            raise RwkvError("model-too-big", what=buffer.name, need=buffer.nbytes, limit=self.limits.binding_bytes)
        return buffer

    # ── points ──

    def value(
        self, name: str, buffer: Buffer, *, columns: int = 0, stride: int = 0, first: int = 0, plane: int = 0, count: str = "rows"
    ) -> Buffer:
        """A named value is complete, and nothing has read it yet: here the hooks on it run. Without sizes: whole rows of the buffer."""
        stride = stride or buffer.shape[-1]
        point = self.program.points[name] = self._live[name] = Point(name, buffer, columns or stride, stride, first, plane, count)
        before, self._hooked = self.point, True
        for hook in self.hooks:
            if not matches(hook, name):
                continue
            if isinstance(hook, Callback):
                self.program.cuts.append(Cut(len(self.program.calls), point, hook.run, dict(self._live)))
            else:
                self.point = name
                hook.run(self, point)
        self.point, self._hooked = before, False
        return buffer

    def at(self, name: str) -> Point:
        """Another value, for a hook. RwkvError `bad-hook` when it is not in memory now: not there yet, overwritten, or never written by this Program."""
        if name not in self._live:
            raise RwkvError("bad-hook", point=self.point, reason=f"{name} is not in memory here")
        return self._live[name]

    def wants(self, *names: str) -> bool:
        """Whether a hook needs one of these values, which a fused kernel would not write."""
        return any(wants(hook, name) for hook in self.hooks for name in names)

    def check_hooks(self) -> None:
        """RwkvError `unknown-point` for a hook that matched nothing."""
        for hook in self.hooks:
            if not any(matches(hook, name) for name in self.program.points):
                some = sorted({name.removeprefix(point.layer) for name, point in self.program.points.items()})
                raise RwkvError("unknown-point", pattern=hook.pattern, points=", ".join(some))

    # ── calls ──

    def call(self, kernel: str, constants: Mapping[str, Value], buffers: Sequence[Buffer], weight_bytes: int | None = None) -> Buffer:
        """Append a dispatch at the current point; returns the last buffer it writes."""
        if weight_bytes is None:
            weight_bytes = sum(b.used for b in {b.name: b for b in buffers}.values() if b.role == "weight")
        grid = KERNELS[kernel].grid(constants)
        for dim in grid:
            most = -(-self.row_count.get(dim.count, 1) * dim.per // dim.tile)
            if most > self.limits.workgroups:
                raise RwkvError("internal", reason=f"{kernel} at {self.point} needs {most} workgroups in one dimension")
        reads, writes = buffers[: len(KERNELS[kernel].reads)], buffers[len(KERNELS[kernel].reads) :]
        if both := {b.name for b in reads} & {b.name for b in writes}:
            reason = f"the kernel {kernel} binds {both.pop()} for reading and again for writing"
            raise RwkvError("bad-hook", point=self.point, reason=reason)
        if not self._hooked:
            written = {b.name for b in writes}
            self._live = {name: point for name, point in self._live.items() if point.buffer.name not in written}
        self.program.calls.append(Call(kernel, dict(constants), tuple(buffers), grid, self.point, weight_bytes))
        return buffers[-1]

    def embed(self, tensor: str, out: Buffer, columns: int) -> Buffer:
        """out[t] = table[token_t], or LN0 of row t of `embeddings` for a row that brings its own embedding."""
        given = self.scratch("embeddings", self.program.max_rows, columns)
        norm = self.vectors("ln0", ["blocks.0.ln0.weight", "blocks.0.ln0.bias"], columns)
        rows, found = self.row_index(tensor)
        # One row a token: nothing is gained by textures, which take longer to fill.
        for first, table in self.slabs(tensor, columns, "buffers"):
            layout = w.layout(table.weights.encoding, columns, table.weights.held)
            constants = {"C": columns, "FIRST": first, "COUNT": table.rows, "WG": 16} | found | layout
            one_row = (table.weights.used + (table.scales.used if table.scales is not table.weights else 0)) // table.rows
            self.call(
                "embed", constants, [table.weights, table.scales, given, norm, rows or norm, out], weight_bytes=one_row if first == 0 else 0
            )
        return out

    def head(self, tensor: str, x: Buffer, logits: Buffer) -> Buffer:
        """logits = W x of the rows with an output. Rows that are repeated are multiplied once, and their logits spread over all that they stand for."""
        outputs, vocab = logits.shape
        rows, found = self.row_index(tensor)
        width = -(-self.tensors[tensor].shape[0] // 4) * 4 if rows else vocab
        made = self.scratch("distinct", outputs, width) if rows else logits
        for first, slab in self.slabs(tensor, x.shape[1]):
            self.matmul(slab, x, made, per="outputs", stride=width, at=first)
        return self.call("spread", {"U": width, "WG": 64} | found, [made, rows, logits]) if rows else logits

    def layer_mix(
        self, x: Buffer, norm: Buffer, mu: Buffer, prev: Buffer, out: Buffer, *, keep: bool = False, normed: bool = False
    ) -> Buffer:
        """LayerNorm (unless x is `normed`) + token shift + as many interpolations as `mu` has rows; `keep`: and the difference they interpolate over."""
        sources, channels = mu.shape
        constants = {"C": channels, "S": sources, "KEEP": int(keep), "NORM": int(not normed)} | self._norm(channels)
        return self.call("layer_mix", constants, [x, norm, mu, prev, out])

    def layer_norm(self, x: Buffer, norm: Buffer, out: Buffer, *, per: str = "rows") -> Buffer:
        """LayerNorm of every row, or of those with an output."""
        channels = norm.shape[1]
        return self.call("layer_norm", {"C": channels, "PER_OUTPUT": int(per == "outputs")} | self._norm(channels), [x, norm, out])

    def group_norm(self, y: Buffer, vectors: Buffer, out: Buffer, head_size: int, eps: float) -> Buffer:
        """GN of every head: gain and bias are the last two rows of `vectors`."""
        rows, channels = vectors.shape
        constants = {"C": channels, "N": head_size, "GAIN": rows - 2, "ROWS": rows, "WG": 64, "EPS": eps}
        return self.call("group_norm", constants, [y, vectors, out])

    def combine(self, x: Buffer, out: Buffer, *, gate: Buffer | None = None, at: int = 0, add: bool = False) -> Buffer:
        """out = x or out += x, times columns `at` … of `gate` if there is one: what a matrix's dispatch does on the way when no hook looks between."""
        gated, gate = int(gate is not None), gate or x
        constants = {"C": x.shape[-1], "ADD": int(add), "GATED": gated, "STRIDE": gate.shape[-1], "AT": at, "WG": 64}
        return self.call("combine", constants, [x, gate, out])

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
        """out = act(m x), or out += m x, or out += gate · m x with the gate at that column of x. A wide tile leaves a lone output to the narrow one, which a
        prompt's end is: `per` becomes "lone" and "several", of which a step has one."""
        if per == "outputs" and self.tuning.tile != ONE_TOKEN:
            place: dict[str, Any] = {"act": act, "add": add, "gate": gate, "stride": stride, "at": at}
            self.matmul(m, x, out, per="lone", **place)
            return self.matmul(m, x, out, per="several", **place) if self.program.max_outputs > 1 else out
        more: dict[str, Value] = {"ACT": act, "ADD": int(add) if gate is None else 2, "PER_OUTPUT": TOKENS.index(per)}
        more |= {"OUT_STRIDE": stride or m.rows, "OUT_AT": at, "X_STRIDE": x.shape[-1], "GATE_AT": gate or 0}
        more["write"] = write(m.rows, stride or m.rows, at)
        if per == "lone":
            more["tile"] = ONE_TOKEN
        return self.call("matmul", self.tile(m) | more, [m.weights, m.scales, x, out], 0 if per == "several" else None)

    def project(self, m: Matrix, x: Buffer, table: Buffer, out: Buffer, block: int) -> Buffer:
        """Stacked matrices, each with its own input and activation (`table`); every `block` rows have the same."""
        constants = self.tile(m, block) | {"TILES": m.rows // 16, "S": x.shape[0]}
        return self.call("project", constants, [m.weights, m.scales, x, table, out])

    def topk(self, logits: Buffer, vocab: int, limit: int) -> Buffer:
        """The best 256 logits of every output and log Σ exp: u32 [outputs, 4 + 2 K]."""
        t = self.tuning
        c, outputs = topk.sizes(vocab, limit, t.reduce if t.share == 1 else str(t.share)), self.program.max_outputs
        best = self.scratch("topk.best", outputs, c["GROUPS"], 4)
        found = self.scratch("topk.found", outputs, 2 * c["CAPACITY"] + c["GROUPS"], dtype="u32")
        candidates = self.scratch("candidates", outputs, 4 + 2 * c["K"], dtype="u32", role="output")
        masks = self.scratch("masks", outputs, c["WORDS"], dtype="u32")
        self.call("topk_groups", c, [masks, logits, best])
        return self.call("topk_select", c, [logits, best, found, candidates])

    def tile(self, m: Matrix, block: int = 0) -> dict[str, Any]:
        """The constants of every kernel that multiplies a matrix. block: rows that have the same input, if they do not all."""
        encoding, dots = m.weights.encoding, self.tuning.dots
        rounds = (dots == "packed" and encoding == "int8") or (dots == "half" and encoding != "f32")
        return (
            {"M": m.rows, "K": m.columns}
            | w.layout(encoding, m.columns, m.weights.held)
            | self.form(block)
            | ({"dots": dots} if rounds else {})
        )

    def form(self, block: int = 0) -> dict[str, Any]:
        """The form of a product: tile, and what invocations share."""
        t = self.tuning
        share = 1 if block % (4 * t.share) or t.workgroup % t.share else t.share
        return {"tile": t.tile, "LANES": t.lanes, "WG": t.workgroup, "reduce": t.sum, "share": str(share), "dots": "float"}

    def _norm(self, channels: int) -> dict[str, Any]:
        t = self.tuning
        shared = t.share > 1 and t.norm_workgroup % t.share == 0
        return {
            "PER": t.norm_channels or -(-channels // (4 * t.norm_workgroup)),
            "WG": t.norm_workgroup,
            "reduce": str(t.share) if shared else t.reduce,
        }
