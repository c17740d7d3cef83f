"""The manifest of a model: everything about it except its weights. It may come from anywhere, so every field is checked. No numpy."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from py_rwkv.checkpoint.layout import layout, start_layout
from py_rwkv.checkpoint.safetensors import ITEMSIZE
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.quant import ENCODINGS, parse_strategy
from py_rwkv.tokenizer import MAX_FILE, check_size

FORMAT, VERSION = "py_rwkv-model", 1
MAX_SHARD = 64 << 20  # what a reader accepts; the writer stays below 32 MiB
MAX_JSON = 32 << 20


class StoredPiece(NamedTuple):
    """Rows `first_row` … of a tensor: `nbytes` at byte `offset` (a multiple of 4) of the file of shard number `shard`."""

    shard: int
    offset: int
    nbytes: int
    first_row: int


@dataclass(frozen=True)
class Stored:
    """A stored tensor: safetensors dtype, shape, and its pieces in row order."""

    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[StoredPiece, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * ITEMSIZE[self.dtype]


class Shard(NamedTuple):
    """A file `SHA256.safetensors` of `bytes` bytes."""

    sha256: str
    bytes: int


class TokenizerFile(NamedTuple):
    """A file `SHA256.json` (`bpe`) or `SHA256.txt` (`vocabulary`) of `bytes` bytes; ids from `tokens` on are no tokens."""

    sha256: str
    bytes: int
    tokens: int


FILE_KINDS = {"bpe": ".json", "vocabulary": ".txt"}  # tokenizers that are a file: its ending


@dataclass(frozen=True)
class Sampling:
    """What suits this model: the settings of a request that names none."""

    temperature: float = 1.0
    top_p: float = 0.3
    top_k: int = 0
    presence_penalty: float = 0.5
    frequency_penalty: float = 0.5
    penalty_decay: float = 0.996
    max_tokens: int = 1024
    stop: tuple[str, ...] | None = None  # None: those of the template

    @classmethod
    def from_json(cls, data: object) -> Sampling:
        """Missing keys get the defaults; unknown keys and values out of range are refused (`bad-manifest`)."""
        table = _table(data, "sampling", optional=set(cls.__dataclass_fields__))
        for name, value in table.items():
            if name == "stop" and value is None:
                continue
            if name == "stop":
                good = isinstance(value, list | tuple) and len(value) <= 16 and all(isinstance(s, str) and 0 < len(s) <= 200 for s in value)
                table[name] = tuple(value) if good else ()
            else:
                low, high = RANGES[name]
                whole = isinstance(cls.__dataclass_fields__[name].default, int)
                good = type(value) in ((int,) if whole else (int, float)) and low <= value <= high
            if not good:
                raise RwkvError("bad-manifest", reason=f"sampling.{name} cannot be {str(value)[:40]}")
        return cls(**table)


RANGES = {"temperature": (0, 10), "top_p": (0, 1), "top_k": (0, 1 << 24), "presence_penalty": (-10, 10), "frequency_penalty": (-10, 10)}
RANGES |= {"penalty_decay": (0, 1), "max_tokens": (1, 1 << 24)}


@dataclass(frozen=True)
class Manifest:
    """One model. `quantization` is a strategy string, `tokenizer` what `choose_tokenizer` gives or the kind of `tokenizer_file`, `template` the id of a prompt
    template; `card` and `source` are texts for people."""

    name: str
    config: Config
    quantization: str
    tokenizer: str
    template: str
    sampling: Sampling
    tensors: dict[str, Stored]
    shards: tuple[Shard, ...]
    card: dict[str, str] = field(default_factory=dict)
    source: dict[str, str | int] = field(default_factory=dict)
    tokenizer_file: TokenizerFile | None = None

    @property
    def total_bytes(self) -> int:
        """Of all shards: the size of the download."""
        return sum(s.bytes for s in self.shards)

    @property
    def tokenizer_name(self) -> str:
        """The name of the tokenizer's file beside the shards; "" if it is built in."""
        return self.tokenizer_file.sha256 + FILE_KINDS[self.tokenizer] if self.tokenizer_file else ""

    @cached_property
    def model_hash(self) -> str:
        """sha256 over what determines the numbers: config, quantization, and the shards that hold weights, in order. Name, template, tokenizer and a
        default state (whose tensors have shards of their own) do not count."""
        weights = {p.shard for name, t in self.tensors.items() if not name.startswith("state.") for p in t.pieces}
        facts = {
            "config": self.config.to_json(),
            "quantization": self.quantization,
            "shards": [self.shards[i].sha256 for i in sorted(weights)],
        }
        return sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """One line per tensor, so that a person can read it."""
        plain = {name: getattr(self, name) for name in ("name", "quantization", "tokenizer", "template", "card", "source", "total_bytes")}
        head = {"format": FORMAT, "format_version": VERSION, **plain, "config": self.config.to_json(), "sampling": asdict(self.sampling)}
        head |= {"tokenizer_file": self.tokenizer_file._asdict()} if self.tokenizer_file else {}
        lines = [f"  {_dump(key)}: {_dump(value)}" for key, value in head.items()]
        shards = ",\n".join(f"    {_dump(s._asdict())}" for s in self.shards)
        tensors = ",\n".join(f"    {_dump(name)}: {_dump(asdict(t))}" for name, t in self.tensors.items())
        return "{\n" + ",\n".join([*lines, f'  "shards": [\n{shards}\n  ]', f'  "tensors": {{\n{tensors}\n  }}']) + "\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """RwkvError `bad-manifest` (what is wrong), `bad-config`, `unsupported-architecture`, `unknown-strategy`."""
        try:
            data = json.loads(text) if len(text) <= MAX_JSON else None
        except (ValueError, RecursionError) as e:
            raise RwkvError("bad-manifest", reason=f"it is not valid JSON ({e})") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise RwkvError("bad-manifest", reason=f"it does not say that its format is {FORMAT}")
        version = data.get("format_version")
        _need(version == VERSION, f"it has format version {str(version)[:20]}; this program reads version {VERSION}")
        texts = {"name": 200, "quantization": 200, "tokenizer": 40, "template": 40}
        others = {"format", "format_version", "config", "sampling", "tensors", "shards", "total_bytes"}
        _table(data, "the manifest", {*texts, *others}, {"card", "source", "tokenizer_file"})
        for key, limit in texts.items():
            _need(isinstance(data[key], str) and 0 < len(data[key]) <= limit, f"{key} must be a text of at most {limit} characters")
        shards = tuple(_shard(s) for s in _list(data["shards"], "shards", 1 << 16))
        tensors = {name: _stored(name, t, shards) for name, t in _table(data["tensors"], "tensors").items()}
        manifest = cls(
            **{key: data[key] for key in texts},
            config=Config.from_json(data["config"]),
            sampling=Sampling.from_json(data["sampling"]),
            tensors=tensors,
            shards=shards,
            card=_texts(data, "card"),
            source=_texts(data, "source"),
            tokenizer_file=_tokenizer_file(data.get("tokenizer_file")),
        )
        _need(data["total_bytes"] == manifest.total_bytes, "total_bytes is not the sum of its shards")
        _no_overlap(tensors)
        check_tokenizer(manifest)
        check_layout(manifest)
        return manifest


def choose_tokenizer(vocab: int) -> str:
    """By the size of the vocabulary: `world`, `20b`, `bytes`, or `unknown` (somebody must say)."""
    if vocab == 256:
        return "bytes"
    return "world" if 65530 <= vocab <= 65536 else "20b" if 50277 <= vocab <= 50304 else "unknown"


def check_tokenizer(manifest: Manifest) -> None:
    """The tokenizer's file is there where its kind needs one, and its vocabulary is that of the model. RwkvErrors `bad-manifest`, `tokenizer-mismatch`."""
    name, file = manifest.tokenizer, manifest.tokenizer_file
    _need((name in FILE_KINDS) == (file is not None), f"the tokenizer {name} and tokenizer_file do not go together")
    if file:
        check_size(name, file.tokens, manifest.config.vocab)


def check_layout(manifest: Manifest) -> None:
    """The stored tensors are exactly those that the config and the strategy make (`bad-manifest` otherwise)."""
    strategy, left = parse_strategy(manifest.quantization), dict(manifest.tensors)
    for t in layout(manifest.config):
        if t.optional and t.name not in left:
            continue
        _need(t.name in left, f"the tensor {t.name} is missing")
        rows = t.rows
        wanted: dict[str, tuple[str, tuple[int, ...]]] = {"": ("F32", (t.columns,))}
        if t.kind != "vector":
            if index := left.pop(f"{t.name}.rows", None):
                rows = left[t.name].shape[0]
                good = index.dtype in ("U16", "U32") and index.shape == (t.rows,) and 0 < rows <= t.rows
                _need(good, f"{t.name}.rows does not fit {t.name}")
            wanted = ENCODINGS[strategy.encoding(t.name)].layout(rows, t.columns)
        for suffix, (dtype, shape) in wanted.items():
            found = left.pop(t.name + suffix, None)
            good = found is not None and (found.dtype, found.shape) == (dtype, shape)
            _need(good, f"{t.name + suffix} must be {dtype} {list(shape)}, not {found and [found.dtype, *found.shape]}")
    for name, length in start_layout(manifest.config).items():
        if start := left.pop(name, None):
            _need((start.dtype, start.shape) == ("F32", (length,)), f"{name} must be F32 [{length}], not {start.dtype} {list(start.shape)}")
    _need(not left, f"the tensor {next(iter(left), '')} belongs to no model of this config")


def _stored(name: str, data: object, shards: tuple[Shard, ...]) -> Stored:
    table = _table(data, f"tensor {name[:80]}", {"dtype", "shape", "pieces"})
    dtype, shape = table["dtype"], tuple(_list(table["shape"], f"the shape of {name[:80]}", 8))
    _need(isinstance(dtype, str) and dtype in ITEMSIZE, f"{name[:80]} has an unknown dtype")
    _need(bool(shape) and all(_natural(n) and n > 0 for n in shape), f"{name[:80]} has a bad shape")
    row, pieces, at = prod(shape[1:]) * ITEMSIZE[dtype], [], 0
    for piece in _list(table["pieces"], f"the pieces of {name[:80]}", 1 << 16):
        _need(isinstance(piece, list) and len(piece) == 4 and all(map(_natural, piece)), f"{name[:80]} has a bad piece")
        p = StoredPiece(*piece)
        _need(p.first_row == at and p.nbytes > 0 and p.nbytes % row == 0, f"the pieces of {name[:80]} do not follow each other")
        inside = p.shard < len(shards) and p.offset >= 8 and p.offset % 4 == 0 and p.offset + p.nbytes <= shards[p.shard].bytes
        _need(inside, f"a piece of {name[:80]} lies outside its shard")
        at += p.nbytes // row
        whole = at == shape[0] or p.nbytes % 4 == 0  # devices are written in words, and the next piece begins where this one ends
        _need(whole, f"a piece of {name[:80]} ends between multiples of 4 bytes")
        pieces.append(p)
    _need(at == shape[0], f"the pieces of {name[:80]} make {at} of {shape[0]} rows")
    return Stored(dtype, shape, tuple(pieces))


def _no_overlap(tensors: dict[str, Stored]) -> None:
    pieces = sorted((p.shard, p.offset, p.nbytes, name) for name, t in tensors.items() for p in t.pieces)
    for a, b in pairwise(pieces):
        _need(a[0] != b[0] or a[1] + a[2] <= b[1], f"{a[3][:80]} and {b[3][:80]} overlap")


def _shard(data: object) -> Shard:
    table = _table(data, "a shard", {"sha256", "bytes"})
    digest, size = table["sha256"], table["bytes"]
    _need(isinstance(digest, str) and bool(re.fullmatch(r"[0-9a-f]{64}", digest)), "a shard's sha256 is not 64 hexadecimal digits")
    _need(_natural(size) and 0 < size <= MAX_SHARD, "a shard has an absurd size")
    return Shard(digest, size)


def _tokenizer_file(data: object) -> TokenizerFile | None:
    if data is None:
        return None
    table = _table(data, "tokenizer_file", {"sha256", "bytes", "tokens"})
    _shard({"sha256": table["sha256"], "bytes": 1})
    good = _natural(table["bytes"]) and 0 < table["bytes"] <= MAX_FILE and _natural(table["tokens"])
    _need(good, "tokenizer_file has an absurd size")
    return TokenizerFile(**table)


def _texts(data: dict[str, Any], key: str) -> dict[str, Any]:
    table = _table(data.get(key, {}), key)
    good = len(table) <= 32 and all(_natural(v) or isinstance(v, str) for v in table.values()) and len(_dump(table)) < 1 << 16
    _need(good, f"{key} must be a small table of texts")
    return table


def _table(data: object, what: str, required: set[str] | None = None, optional: set[str] | None = None) -> dict[str, Any]:
    """`data` as a dictionary: any keys, or exactly the required ones and perhaps the optional ones."""
    if not isinstance(data, dict):
        raise RwkvError("bad-manifest", reason=f"{what} must be a table")
    if required is not None or optional is not None:
        missing, unknown = (required or set()) - set(data), set(data) - (required or set()) - (optional or set())
        _need(not missing, f"{what} lacks {', '.join(sorted(missing))}")
        _need(not unknown, f"{what} has the unknown key {next(iter(sorted(unknown)), '')[:80]}")
    return dict(data)


def _list(data: object, what: str, limit: int) -> list[Any]:
    if not isinstance(data, list) or len(data) > limit:
        raise RwkvError("bad-manifest", reason=f"{what} must be a list of at most {limit}")
    return data


def _natural(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _need(condition: bool, reason: str) -> None:
    if not condition:
        raise RwkvError("bad-manifest", reason=reason)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
