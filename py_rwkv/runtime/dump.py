"""Every value of a model on some tokens: recorded through a hook, kept in a safetensors file (docs/hooks.md)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.safetensors import Piece, encode, read_header
from py_rwkv.checkpoint.source import FileSource
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback, Frame, Hook
from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray

    from py_rwkv.runtime.engine import Engine

FORMAT = "py_rwkv-dump"
Open = Callable[[Sequence[Hook]], Awaitable["Engine"]]


@dataclass(frozen=True)
class Dump:
    """values: point → f32 [T, columns] in the order of the computation. fused: only points of an ordinary run's Program. about: a line for people."""

    tokens: tuple[int, ...]
    values: dict[str, ndarray]
    fused: bool
    about: str


async def record(open_engine: Open, tokens: Sequence[int], *, points: str = "*", fused: bool = False, rows: int = 0) -> Dump:
    """Feed the tokens from the start and keep every value whose point matches; `rows` at a time, 0: as many as a step takes.

    `open_engine(hooks)` opens the model; its engine is closed here. RwkvErrors of the model and of the tokens, `unknown-point`.
    """
    seen: dict[str, list[ndarray]] = {}

    def keep(value: ndarray, frame: Frame) -> None:
        seen.setdefault(frame.point.name, []).append(value)

    engine = await open_engine([Callback(points, keep, fused=fused)])
    try:
        engine.check_tokens(tokens)
        session, size = engine.session(), rows or len(tokens)
        for at in range(0, len(tokens), size):
            await session.feed(tokens[at : at + size], "full")
        order = [name for name in engine.decode.points if name in seen]
        about = f"{engine.manifest.name}, {engine.manifest.quantization}, {engine.device.kind}: {engine.device.adapter}"
    finally:
        engine.close()
    return Dump(tuple(tokens), {name: np.concatenate(seen[name]) for name in order}, fused, about)


def write_dump(path: str | os.PathLike[str], dump: Dump) -> Path:
    """One safetensors file, names = points; for a directory: `values.safetensors` in it. Returns the file. RwkvError `cannot-write`."""
    target = Path(path)
    target = target / "values.safetensors" if target.is_dir() or not target.suffix else target
    pieces = [Piece(name, "F32", value.shape, value.astype("<f4").tobytes()) for name, value in dump.values.items()]
    about = {"format": FORMAT, "tokens": ",".join(map(str, dump.tokens)), "fused": str(int(dump.fused)), "about": dump.about}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(pieces, about))
    except OSError as e:
        raise RwkvError("cannot-write", name=str(target), reason=e.strerror or str(e)) from None
    return target


def is_dump(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a safetensors file that `write_dump` wrote. RwkvErrors of a broken safetensors file."""
    return Path(path).suffix == ".safetensors" and Path(path).is_file() and read_header(FileSource(path))[1].get("format") == FORMAT


def read_dump(path: str | os.PathLike[str]) -> Dump:
    """RwkvErrors of a broken file, or `bad-dump`."""
    source = FileSource(path)
    tensors, about = read_header(source)

    def bad(reason: str) -> RwkvError:
        return RwkvError("bad-dump", name=str(path), reason=reason)

    if about.get("format") != FORMAT:
        raise bad(f"its format is {about.get('format', 'not given')[:40]}, not {FORMAT}")
    try:
        tokens = tuple(int(t) for t in about.get("tokens", "").split(","))
    except ValueError:
        raise bad("its tokens are not whole numbers") from None
    for t in tensors.values():
        if t.dtype != "F32" or len(t.shape) != 2 or t.shape[0] != len(tokens):
            raise bad(f"{t.name} is {t.dtype} {list(t.shape)}, not F32 [{len(tokens)}, columns]")
    values = {t.name: np.frombuffer(source.read(t.offset, t.nbytes), "<f4").reshape(t.shape) for t in tensors.values()}
    return Dump(tokens, values, about.get("fused") == "1", about.get("about", ""))
