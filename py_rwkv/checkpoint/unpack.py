"""Stored tensors → arrays: what the numpy device and the tests read. Repeated rows are expanded here; nothing above sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import Shards
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.quant import ENCODINGS, parse_strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32, Parts

SUFFIXES = sorted({suffix for e in ENCODINGS.values() for suffix in e.layout(64, 64)})
NUMPY = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4"}


class Weights:
    """The tensors of one model. Read in the manifest's order, every shard is read once; at most one is kept."""

    def __init__(self, manifest: Manifest, shards: Shards) -> None:
        self.manifest, self.shards, self.strategy = manifest, shards, parse_strategy(manifest.quantization)
        self._shard: tuple[int, bytes] = -1, b""

    def stored(self, name: str) -> NDArray[Any]:
        """The tensor as it is stored (`NAME`, `NAME.scale`, `NAME.rows`), read-only if it is one piece."""
        t = self.manifest.tensors[name]
        pieces = [np.frombuffer(self._read(p.shard), NUMPY[t.dtype], p.nbytes // int(NUMPY[t.dtype][-1]), p.offset) for p in t.pieces]
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)).reshape(t.shape)

    def parts(self, name: str) -> Parts:
        """A matrix as its encoding's parts {suffix: array}, or a vector as {"": f32 [n]}; repeated rows expanded."""
        suffixes = [s for s in SUFFIXES if name + s in self.manifest.tensors]
        parts = {s: self.stored(name + s) for s in suffixes}
        if name + ".rows" not in self.manifest.tensors:
            return parts
        rows = self.stored(name + ".rows")
        if int(rows.max()) >= len(parts[""]):
            raise RwkvError("bad-manifest", reason=f"{name}.rows names row {int(rows.max())} of {len(parts[''])}")
        return {s: part[rows] for s, part in parts.items()}

    def f32(self, name: str) -> F32:
        """The numbers: a matrix f32 [M, Kp], a vector f32 [n]."""
        parts = self.parts(name)
        matrix = parts[""].ndim == 2
        return ENCODINGS[self.strategy.encoding(name)].decode(parts) if matrix else parts[""].astype(np.float32)

    def _read(self, shard: int) -> bytes:
        if self._shard[0] != shard:
            self._shard = shard, self.shards.read(shard)
        return self._shard[1]
