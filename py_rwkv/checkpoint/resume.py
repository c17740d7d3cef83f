"""What a conversion needs to go on after an interruption: which tensors are in shards that are done. A few hundred kB of JSON at most, with every shard."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from py_rwkv.checkpoint.manifest import Shard, Stored, StoredPiece

if TYPE_CHECKING:
    from py_rwkv.checkpoint.checkpoint import Checkpoint
    from py_rwkv.checkpoint.shards import ShardWriter
    from py_rwkv.models.config import Config


class Resume:
    """`text`: what `state` said when the interrupted conversion had written its latest shard; "" begins at the beginning."""

    writer: ShardWriter
    _facts: dict[str, Any]

    def __init__(self, text: str = "") -> None:
        self.text = text

    def begun(self, checkpoint: Checkpoint, config: Config, strategy: str) -> tuple[dict[str, Stored], list[Shard]] | None:
        """Index and shards to go on with; None where there are none, or not of this checkpoint in this strategy."""
        self._facts = {"bytes": checkpoint.size, "config": config.to_json(), "strategy": strategy}
        with suppress(ValueError, KeyError, TypeError):
            data = json.loads(self.text)
            if data["facts"] == self._facts:
                pieces = {
                    name: (d, tuple(shape), tuple(StoredPiece(*p) for p in parts)) for name, (d, shape, parts) in data["tensors"].items()
                }
                return {name: Stored(*stored) for name, stored in pieces.items()}, [Shard(*shard) for shard in data["shards"]]
        return None

    def state(self) -> str:
        """To be kept with the shard that was written last."""
        tensors = {name: (t.dtype, t.shape, t.pieces) for name, t in self.writer.index.items() if t.pieces}
        return json.dumps({"facts": self._facts, "shards": self.writer.shards, "tensors": tensors}, separators=(",", ":"))
