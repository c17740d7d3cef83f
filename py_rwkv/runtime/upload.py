"""Which bytes of which shard go to which place of which buffer. A plan is data; devices execute it, in Python or in JavaScript."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from py_rwkv.checkpoint.safetensors import ITEMSIZE
from py_rwkv.errors import RwkvError
from py_rwkv.program import Buffer


@dataclass(frozen=True)
class Upload:
    """Copy `nbytes` at `at` of the shard to byte `to` of `buffer`.

    With `keep`, the bytes are remembered under that name instead (a row index, needed soon). With `index`, the target is `rows` rows of `row_bytes`, row i being row
    index[first + i] of the source; index items are `item` bytes. With `below`, the bytes are such an index themselves, of items less than that.
    """

    at: int
    nbytes: int
    buffer: str = ""
    to: int = 0
    keep: str = ""
    index: str = ""
    item: int = 0
    first: int = 0
    rows: int = 0
    row_bytes: int = 0
    below: int = 0


class _Piece(Protocol):
    shard: int
    offset: int
    nbytes: int
    first_row: int


class _Tensor(Protocol):
    dtype: str
    shape: tuple[int, ...]

    @property
    def pieces(self) -> Iterable[Any]: ...


def plan(buffers: Iterable[Buffer], tensors: Mapping[str, Any], shards: int) -> list[list[Upload]]:
    """Uploads per shard, in the order they must happen. Raises RwkvError `missing-tensor` for a part the model does not hold, `bad-manifest` for rows that
    cannot be expanded from shards that come one after the other."""
    out: list[list[Upload]] = [[] for _ in range(shards)]
    kept: set[str] = set()
    order: list[tuple[int, int, int, Upload]] = []
    for buffer in buffers:
        for part in buffer.parts:
            if part.tensor not in tensors:
                raise RwkvError("missing-tensor", name=part.tensor, expected=f"{part.rows} rows")
            tensor = tensors[part.tensor]
            index = part.tensor.removesuffix(".scale") + ".rows"
            if index in tensors and not part.distinct:
                item, below = _of_index(index, tensors)
                (rows, *more), (piece, *others) = tensors[index].pieces, tensor.pieces
                if more or others or rows.shard > piece.shard:
                    raise RwkvError("bad-manifest", reason=f"{part.tensor} or its index is cut, or its index comes later")
                if index not in kept:
                    kept.add(index)
                    order.append((rows.shard, 0, len(order), Upload(rows.offset, rows.nbytes, keep=index, item=item, below=below)))
                target = (buffer.name, part.at, "", index, item, part.first, part.rows, part.row_bytes)
                what = Upload(piece.offset, piece.nbytes, *target)
                order.append((piece.shard, 1, len(order), what))
                continue
            item, below = _of_index(part.tensor, tensors)
            for piece in tensor.pieces:
                first = max(part.first, piece.first_row)
                last = min(part.first + part.rows, piece.first_row + piece.nbytes // part.row_bytes)
                if first < last:
                    at = piece.offset + (first - piece.first_row) * part.row_bytes
                    to = part.at + (first - part.first) * part.row_bytes
                    what = Upload(at, (last - first) * part.row_bytes, buffer.name, to, item=item, below=below)
                    order.append((piece.shard, 1, len(order), what))
    for shard, _, _, upload in sorted(order, key=lambda o: o[:3]):
        out[shard].append(upload)
    return out


def _of_index(name: str, tensors: Mapping[str, Any]) -> tuple[int, int]:
    """Of a row index: the bytes of an item, and how many rows there are to choose from. Zeros for other tensors."""
    if not name.endswith(".rows"):
        return 0, 0
    return ITEMSIZE[tensors[name].dtype], tensors[name.removesuffix(".rows")].shape[0]


def gathered(u: Upload, shard: bytes, kept: dict[str, bytes]) -> bytes:
    """The bytes an upload writes; a `keep` is stored in `kept` and writes nothing. RwkvError `bad-manifest` for an index of rows that are not stored."""
    data = bytes(memoryview(shard)[u.at : u.at + u.nbytes])
    if u.below and (most := max(_items(data, u))) >= u.below:
        raise RwkvError("bad-manifest", reason=f"{u.keep or u.buffer} names row {most} of {u.below}")
    if u.keep:
        kept[u.keep] = data
        return b""
    if not u.index:
        return data
    index = _items(kept[u.index], u)[u.first : u.first + u.rows]
    return b"".join([data[i * u.row_bytes : (i + 1) * u.row_bytes] for i in index])


def _items(index: bytes, u: Upload) -> memoryview[int]:
    return memoryview(index).cast("H" if u.item == 2 else "I")
