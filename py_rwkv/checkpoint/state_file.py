"""A recurrent state as a value and as a file: safetensors with the tensors of every layer and metadata that say whose state it is. Needs no numpy.

Tensors, all f32, of layer N: `blocks.N.att_prev` [C] and `blocks.N.ffn_prev` [C], what the token shifts remember; `blocks.N.wkv`, in V7 [H, N value, N key],
in V5 and V6 [H, N key, N value]; in V4 instead `blocks.N.aa`, `.bb`, `.pp` [C], the sums and the largest exponent, with pp = −1e30 where nothing was summed
yet. Byte by byte: docs/states.md.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from typing import TYPE_CHECKING, NamedTuple

from py_rwkv.checkpoint.layout import START_KINDS
from py_rwkv.checkpoint.safetensors import Piece, encode, read_header
from py_rwkv.checkpoint.source import ByteSource, BytesSource
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import RANKS, SIZES, Config

if TYPE_CHECKING:
    from py_rwkv.checkpoint.manifest import Manifest
    from py_rwkv.quant.encoding import F32

FORMAT, VERSION = "py_rwkv-state", 1
NOTHING_YET = -1e30  # V4's pp before the first token, as other implementations keep it
NO_TOKEN = 0xFFFFFFFF  # stands among the tokens for an embedding that was fed in place of one
MAX_TOKENS, MAX_NOTES = 1 << 24, 4 << 20
FACTS = ("layers", "embd", "heads", "head_size")


class Kind(NamedTuple):
    """What the shape of a state depends on; models of one kind can read each other's states, which is not to say that they should."""

    version: str
    layers: int
    embd: int
    heads: int
    head_size: int

    @classmethod
    def of(cls, config: Config) -> Kind:
        return cls(config.version, config.layers, config.embd, config.heads, config.head_size)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a state."""
        c, n = (self.embd,), self.head_size
        wkv = {"aa": c, "bb": c, "pp": c} if self.version == "4" else {"wkv": (self.heads, n, n)}
        return {f"blocks.{i}.{name}": shape for i in range(self.layers) for name, shape in {"att_prev": c, **wkv, "ffn_prev": c}.items()}

    def __str__(self) -> str:
        return f"RWKV-{self.version}, {self.layers} layers of {self.embd} channels in {self.heads} heads of {self.head_size}"


@dataclass(frozen=True)
class State:
    """What a model remembers of what it read. `tensors`: {name: f32 little-endian bytes}, names and shapes as in `kind.shapes`.

    `tokens`: those fed since the session's start, None if nobody knows. `model_hash` (`Manifest.model_hash`) is empty where the weights are not known,
    as for state-tuned files. `notes`: short texts that travel in the file's metadata. `source` names it in messages.
    """

    kind: Kind
    tensors: Mapping[str, bytes]
    tokens: tuple[int, ...] | None = ()
    model_hash: str = ""
    model: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    source: str = field(default="memory", compare=False)

    def array(self, name: str) -> F32:
        """A tensor as numbers, read-only."""
        out: F32 = np.frombuffer(self.tensors[name], "<f4").reshape(self.kind.shapes[name])
        return out

    def with_arrays(self, **arrays: F32) -> State:
        """The same state with some tensors replaced: `wkv` and the like, stacked over the layers. RwkvError `state-mismatch` for another shape."""
        tensors, shapes = dict(self.tensors), self.kind.shapes
        for name, values in arrays.items():
            wanted = (self.kind.layers, *shapes.get(f"blocks.0.{name}", ()))
            if f"blocks.0.{name}" not in shapes or values.shape != wanted:
                found, expected = (" × ".join(map(str, shape)) for shape in (values.shape, wanted))
                raise RwkvError("state-mismatch", file=self.source, expected=f"{name} {expected} ({self.kind})", found=found)
            for i in range(self.kind.layers):
                tensors[f"blocks.{i}.{name}"] = np.ascontiguousarray(values[i], "<f4").tobytes()
        return replace(self, tensors=tensors)

    @classmethod
    def zero(cls, kind: Kind) -> State:
        """Where every session of a model without a default state starts."""
        empty = {name: bytes(4 * prod(shape)) for name, shape in kind.shapes.items()}
        return cls(kind, empty | {name: _nothing_yet(data, data) for name, data in empty.items() if name.endswith(".pp")})


def from_buffers(kind: Kind, buffers: Mapping[str, bytes]) -> dict[str, bytes]:
    """The contents of a slot's buffers (`state.N.wkv`, …) → the tensors of a `State`."""
    tensors: dict[str, bytes] = {}
    for i in range(kind.layers):
        for name in START_KINDS:
            data = bytes(buffers[f"state.{i}.{name}"])
            if name == "wkv" and kind.version == "4":
                aa, bb, pp = (data[at : at + 4 * kind.embd] for at in range(0, len(data), 4 * kind.embd))
                tensors |= {f"blocks.{i}.aa": aa, f"blocks.{i}.bb": bb, f"blocks.{i}.pp": _nothing_yet(bb, pp)}
            else:
                tensors[f"blocks.{i}.{name}"] = data
    return tensors


def to_buffers(state: State) -> dict[str, bytes]:
    """The reverse: what a slot's buffers must hold. V4 needs no care: where bb = 0 the kernel does not look at pp."""
    t, v4 = state.tensors, state.kind.version == "4"
    wkv = ("aa", "bb", "pp") if v4 else ("wkv",)
    return {
        f"state.{i}.{name}": b"".join(t[f"blocks.{i}.{part}"] for part in (wkv if name == "wkv" else (name,)))
        for i in range(state.kind.layers)
        for name in START_KINDS
    }


def _nothing_yet(bb: bytes, pp: bytes) -> bytes:
    """V4: buffers start as zeros and bb = 0 says that nothing was summed yet; files say it with pp."""
    sums, largest = memoryview(bb).cast("f"), memoryview(pp).cast("f")
    return array("f", [p if b else NOTHING_YET for b, p in zip(sums, largest, strict=True)]).tobytes()


def check_kind(state: State, config: Config) -> None:
    """RwkvError `state-mismatch` (what was expected and found) unless version and sizes are the model's."""
    if state.kind != (wanted := Kind.of(config)):
        raise RwkvError("state-mismatch", file=state.source, expected=str(wanted), found=str(state.kind))


def check_state(state: State, manifest: Manifest, *, force: bool = False) -> None:
    """`check_kind`, and `state-mismatch` for other weights, unless `force` or unless the state names none; `bad-token` if it read what the model cannot."""
    check_kind(state, manifest.config)
    if state.model_hash and state.model_hash != manifest.model_hash and not force:
        expected = f"the weights {manifest.model_hash[:12]}… ({manifest.name}, {manifest.quantization})"
        found = f"the weights {state.model_hash[:12]}… ({state.model})"
        raise RwkvError("state-mismatch", file=state.source, expected=expected, found=found)
    if worst := next((t for t in state.tokens or () if manifest.config.vocab <= t < NO_TOKEN), 0):
        raise RwkvError("bad-token", token=worst, vocab=manifest.config.vocab)


def start_pieces(state: State) -> list[Piece]:
    """The state as packed tensors of a model whose sessions start with it; those that are all zeros are left out."""
    pieces = [Piece(name, "F32", (len(data) // 4,), data) for name, data in to_buffers(state).items()]
    used = {p.name.rpartition(".")[2] for p in pieces if any(p.data)}
    return [p for p in pieces if p.name.rpartition(".")[2] in used]


# ── the file ──


def encode_state(state: State) -> bytes:
    """The whole file. RwkvError `bad-state` for notes that are too long or use a key of the format."""
    kind = state.kind
    own = {"format": FORMAT, "format_version": str(VERSION), "model": state.model, "model_hash": state.model_hash, "version": kind.version}
    own |= {name: str(getattr(kind, name)) for name in FACTS}
    if set(own) & set(state.notes) or sum(len(k) + len(v) for k, v in state.notes.items()) > MAX_NOTES:
        raise RwkvError("bad-state", file="a state", reason=f"its notes use a key of the format, or more than {MAX_NOTES} characters")
    pieces = [Piece(name, "F32", shape, state.tensors[name]) for name, shape in kind.shapes.items()]
    if state.tokens is not None:
        pieces.append(Piece("tokens", "U32", (len(state.tokens),), array("I", state.tokens).tobytes()))
    return encode(pieces, own | dict(state.notes))


def decode_state(source: ByteSource | bytes) -> State:
    """A file that `encode_state` made, every part of it checked. RwkvError `bad-state`, `bad-weights`, and those of `read_header`."""
    source = BytesSource("the state", source) if isinstance(source, bytes) else source
    found, metadata = read_header(source)
    try:
        notes = dict(metadata)
        _need(notes.pop("format", "") == FORMAT, f"its metadata do not say format {FORMAT}")
        version = notes.pop("format_version", "none")
        _need(version == str(VERSION), f"it has format version {version[:20]}; this program reads version {VERSION}")
        missing = {"model", "model_hash", "version", *FACTS} - set(notes)
        _need(not missing, f"its metadata lack {', '.join(sorted(missing))}")
        model, model_hash, kind = notes.pop("model"), notes.pop("model_hash"), _kind(notes)
        _need(bool(re.fullmatch(r"([0-9a-f]{64})?", model_hash)), "model_hash is not 64 hexadecimal digits")
        _need(len(model) <= 200, "the model's name is absurd")
        count = found["tokens"].nbytes // 4 if "tokens" in found else 0
        _need(count <= MAX_TOKENS, f"it claims {count} tokens")
        own = kind.layers * (5 if kind.version == "4" else 3) + ("tokens" in found)
        _need(len(found) == own, f"it has {len(found)} tensors; a state of {kind} has {own}")  # before `shapes` is made of a claim

        def read(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
            _need(name in found, f"the tensor {name} is missing")
            t = found[name]
            _need((t.dtype, t.shape) == (dtype, shape), f"{name} is {t.dtype} {list(t.shape)}, not {dtype} {list(shape)}")
            return source.read(t.offset, t.nbytes)

        tensors = {name: read(name, "F32", shape) for name, shape in kind.shapes.items()}
        tokens = tuple(memoryview(read("tokens", "U32", (count,))).cast("I")) if "tokens" in found else None
    except ValueError as e:
        raise RwkvError("bad-state", file=source.name, reason=str(e)) from None
    for name, data in tensors.items():
        if not isfinite(sum(memoryview(data).cast("f"))):  # f64 cannot overflow here: only NaN and infinities make it so
            raise RwkvError("bad-weights", name=name)
    return State(kind, tensors, tokens, model_hash, model, notes, source.name)


def is_state_file(source: ByteSource) -> bool:
    """Whether it is one of ours, as opposed to a state-tuned file: by its metadata, or not at all."""
    if source.size < 9 or source.read(8, 1) != b"{":
        return False
    return read_header(source)[1].get("format") == FORMAT


def _kind(notes: dict[str, str]) -> Kind:
    """Takes the facts out of the metadata."""
    sizes = {fact: notes.pop(fact) for fact in FACTS}
    version = notes.pop("version")
    _need(all(re.fullmatch("[1-9][0-9]{0,8}", text) for text in sizes.values()), "its sizes are not whole numbers")
    kind = Kind(version, **{fact: int(text) for fact, text in sizes.items()})
    good = version in RANKS and kind.heads * kind.head_size == kind.embd and all(getattr(kind, f) <= SIZES[f] for f in FACTS)
    _need(good, f"there is no such model: {str(kind)[:200]}")
    return kind


def _need(good: bool, reason: str) -> None:
    if not good:
        raise ValueError(reason)


def write_state(path: str | os.PathLike[str], state: State) -> int:
    """Write the file at once: it is complete or not there. Returns its size in bytes. RwkvError `cannot-write`."""
    text, data = os.fspath(path), encode_state(state)
    try:
        with open(f"{text}.part", "wb") as file:
            file.write(data)
        os.replace(f"{text}.part", text)
    except OSError as e:
        with suppress(OSError):
            os.unlink(f"{text}.part")
        raise RwkvError("cannot-write", name=text, reason=e.strerror or str(e)) from e
    return len(data)
