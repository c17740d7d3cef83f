"""States by what was read: a request begins at the longest beginning of its tokens whose state is kept, and reads only the rest.

The key of a state is sha256 over the model's hash, the start (a person's state, or the model's default), and the tokens read since. So regenerating, editing,
branching and reopening a conversation find what they need without anybody keeping a list of turns, and two conversations that begin alike share it. A state
of a whole prompt is kept with the candidates for the next token; then nothing at all has to be read. The states themselves lie in a Vault: in memory here,
in the page in web/engine/states.js (memory and IndexedDB).
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates

MEMORY = 64 << 20  # bytes of states
READY = "+"  # ends the key of a state that lies with its candidates


class Vault(Protocol):
    """Where the states of one model lie, by key; those used longest ago leave first. `session`: one of the engine (`slot`), with nothing under way."""

    def lengths(self) -> Sequence[int]:
        """How many tokens made the states there may be, in any order, each once."""

    async def keep(self, key: str, length: int, session: Any, extra: bytes) -> None:
        """Take the session's state as it is now; the session may go on as soon as this returns."""

    async def restore(self, keys: Sequence[str], session: Any) -> tuple[str, bytes] | None:
        """Put the first of these that is there into the session: its key and its extra bytes; None if none is."""

    def pin(self, key: str, buffers: Mapping[str, bytes]) -> None:
        """Keep a state (the buffers of a slot) until the vault is gone: it counts as no cache."""

    def usage(self) -> dict[str, Any]:
        """Bytes and number of states; {} where somebody else knows."""


class MemoryVault:
    """States in memory, natively. engine: an `Engine`; budget: bytes."""

    def __init__(self, engine: Any, budget: int = MEMORY) -> None:
        self.engine, self.budget = engine, budget
        self._kept: OrderedDict[str, tuple[int, dict[str, bytes], bytes]] = OrderedDict()
        self._pinned: dict[str, Mapping[str, bytes]] = {}
        self._bytes = 0

    def lengths(self) -> Sequence[int]:
        return list({length for length, _, _ in self._kept.values()})

    async def keep(self, key: str, length: int, session: Any, extra: bytes) -> None:
        if key in self._kept:
            return self._kept.move_to_end(key)
        buffers = await self.engine.read_state(session.slot)
        self._kept[key] = (length, buffers, extra)
        self._bytes += _size(buffers)
        while self._bytes > self.budget:
            _, (_, gone, _) = self._kept.popitem(last=False)
            self._bytes -= _size(gone)

    async def restore(self, keys: Sequence[str], session: Any) -> tuple[str, bytes] | None:
        for key in keys:
            if key in self._kept:
                self._kept.move_to_end(key)
                _, buffers, extra = self._kept[key]
                self.engine.device.write_state(session.slot, buffers)
                return key, extra
            if key in self._pinned:
                self.engine.device.write_state(session.slot, self._pinned[key])
                return key, b""
        return None

    def pin(self, key: str, buffers: Mapping[str, bytes]) -> None:
        self._pinned[key] = buffers

    def usage(self) -> dict[str, Any]:
        return {"memory": self._bytes, "stored": 0, "count": len(self._kept), "budget": {"memory": self.budget, "stored": 0}}


def _size(buffers: Mapping[str, bytes]) -> int:
    return sum(map(len, buffers.values()))


class Found(NamedTuple):
    """A state that was put into a session: it has read so many tokens; candidates for the next one, where they are known."""

    length: int
    candidates: Candidates | None


class PrefixCache:
    """The states of one model. `start` is what sessions start from: it must differ where states differ."""

    def __init__(self, vault: Vault, model: str) -> None:
        """model: `Manifest.model_hash`."""
        self.vault, self.model = vault, model

    async def restore(self, session: Any, start: str, tokens: Sequence[int], more_than: int = -1) -> Found | None:
        """Put the longest kept beginning of `tokens` into the session, if it is longer than `more_than` tokens; its `tokens` say so."""
        keys: list[tuple[str, int]] = []
        for length, key in self._keys(start, tokens, (n for n in self.vault.lengths() if more_than < n <= len(tokens))):
            keys = [(key + READY, length), *([(key, length)] if length < len(tokens) else []), *keys]
        found = await self.vault.restore([key for key, _ in keys], session) if keys else None
        if found is None:
            return None
        key, extra = found
        length = dict(keys)[key]
        session.tokens = list(tokens[:length])
        return Found(length, decode_candidates(extra) if key.endswith(READY) else None)

    async def keep(self, session: Any, start: str, candidates: Candidates | None = None) -> None:
        """Keep the session's state as it is now, with the candidates for its next token if they are known. What goes wrong costs time later, not the answer now."""
        [(length, key)] = self._keys(start, session.tokens, [len(session.tokens)])
        extra = b"" if candidates is None else encode_candidates(candidates)
        with suppress(RwkvError):
            await self.vault.keep(key + READY if extra else key, length, session, extra)

    def _keys(self, start: str, tokens: Sequence[int], lengths: Any) -> list[tuple[int, str]]:
        """(length, key) of some beginnings, shortest first."""
        digest, at, keys = sha256(f"{self.model} {start} ".encode()), 0, []
        for length in sorted(lengths):
            digest.update(array("I", tokens[at:length]).tobytes())
            at = length
            keys.append((length, digest.copy().hexdigest()))
        return keys


def encode_candidates(candidates: Candidates) -> bytes:
    """u32 ids, f32 logits, f32 log Σ exp."""
    return array("I", candidates.ids).tobytes() + array("f", candidates.logits).tobytes() + array("f", [candidates.logsumexp]).tobytes()


def decode_candidates(data: bytes) -> Candidates:
    """The reverse."""
    view, middle = memoryview(data), (len(data) - 4) // 2
    return Candidates(view[:middle].cast("I"), view[middle : 2 * middle].cast("f"), view[-4:].cast("f")[0])
