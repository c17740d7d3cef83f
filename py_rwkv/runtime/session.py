"""A session: a recurrent state in a slot of an engine, and the tokens that made it. Knows tokens and candidates, no prompts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from py_rwkv.checkpoint.state_file import State, write_state
from py_rwkv.errors import RwkvError
from py_rwkv.kernels.embed import NO_TOKEN
from py_rwkv.runtime.sampling import Candidates, Sampler
from py_rwkv.runtime.scheduler import Work
from py_rwkv.runtime.states import buffers_of, state_of

if TYPE_CHECKING:
    from py_rwkv.runtime.engine import Engine

Logits = Literal["none", "last", "full"]
Cancel = Callable[[], bool]


class Session:
    """A recurrent state in a slot, and the tokens that made it."""

    def __init__(self, engine: Engine, slot: int) -> None:
        self.engine, self.slot = engine, slot
        self.tokens: list[int] = []
        self._drew = 0  # how many tokens it had seen when the last `draw` began

    async def prefill(self, tokens: Sequence[int], cancel: Cancel | None = None, mask: bytes = b"") -> Candidates:
        """Feed tokens chunk by chunk; candidates for the next one. When `cancel()` turns true between chunks, RwkvError `cancelled`: the state holds what was fed.

        mask: u32 words with a bit per token; then only tokens it allows are candidates, and logsumexp is theirs.
        """
        self.engine.check_tokens(tokens)
        work = await self._do(Work(self.slot, tokens, "candidates", self.tokens, cancel, mask=mask))
        assert work.candidates is not None
        return work.candidates

    async def step(self, token: int, mask: bytes = b"") -> Candidates:
        """Feed one token; candidates for the next. mask: as in `prefill`."""
        work = await self._do(Work(self.slot, (token,), "candidates", self.tokens, mask=mask))
        assert work.candidates is not None
        return work.candidates

    async def feed(self, tokens: Sequence[int], logits: Logits = "last", cancel: Cancel | None = None) -> bytes:
        """Feed tokens; f32 logits of none (b""), after the last [V], or after each of them [T, V]. RwkvErrors as in `prefill`."""
        self.engine.check_tokens(tokens)
        return bytes((await self._do(Work(self.slot, tokens, logits, self.tokens, cancel))).logits)

    async def feed_embeddings(self, rows: Any, logits: Logits = "none", cancel: Cancel | None = None) -> bytes:
        """Feed rows in place of tokens (soft prompts): f32 [T, C] like rows of the checkpoint's `emb.weight`, before ln0; bytes or anything with a buffer.

        In `tokens` each counts as NO_TOKEN. RwkvError `no-input-norm` for a packed model without ln0, `bad-embeddings`, and as in `prefill`.
        """
        data = self.engine.check_embeddings(rows)
        tokens = (NO_TOKEN,) * (len(data) // (4 * self.engine.config.embd))
        return bytes((await self._do(Work(self.slot, tokens, logits, self.tokens, cancel, data))).logits)

    def drawing(self, sampler: Sampler, stops: Sequence[int], limit: int) -> bool:
        """Let the device draw from now on, as the sampler would go on, to one of the stop tokens or until `limit` are drawn; False where it cannot."""
        draws = self.engine.draws
        return draws is not None and self.engine.device.ready("sample") and draws.begin(self.slot, sampler, stops, limit)

    async def draw(self, token: int, drawn: int, most: int) -> list[tuple[int, float]]:
        """Feed one token, and those drawn after it except the last: 1 to `most` (token, log-probability), after `drawn` earlier ones.

        RwkvError `not-a-number`, `no-candidates`.
        """
        self._drew = len(self.tokens)
        work = await self._do(Work(self.slot, (token,), "draws", self.tokens, most=most, counter=drawn))
        if not work.draws:
            raise RwkvError(work.failure, **{"where": "the logits"} if work.failure == "not-a-number" else {})
        return work.draws

    async def rewind(self, count: int) -> None:
        """Forget the last `count` tokens: fewer than the last `draw` has fed."""
        keep = self.tokens[self._drew : len(self.tokens) - count]
        self.engine.scheduler.check_idle(self.slot)
        self.engine.device.copy_state(self.engine.slots + self.slot, self.slot)
        del self.tokens[self._drew :]
        await self.feed(keep, "none")

    async def _do(self, work: Work) -> Work:
        await self.engine.scheduler.do(work)
        return work

    def reset(self) -> None:
        """Back to the start (`Engine.set_start`): the zero state, if nobody chose another."""
        self.engine.begin(self.slot)
        self.tokens = []  # a new list: a step whose caller has gone may still add to the old one

    async def state(self) -> State:
        """What the session remembers, as a value. RwkvError `session-busy` while it is fed."""
        buffers = await self.engine.read_state(self.slot)
        return state_of(self.engine.manifest, buffers, tuple(self.tokens))

    def set_state(self, state: State, *, force: bool = False) -> None:
        """Go on from a state taken before, here or elsewhere. RwkvErrors as in `states.buffers_of` (`force`: also with other weights), `session-busy`."""
        buffers = buffers_of(self.engine.manifest, state, force=force)
        self.engine.scheduler.check_idle(self.slot)
        self.engine.device.write_state(self.slot, buffers)
        self.tokens = list(state.tokens or ())

    async def save_state(self, path: str | os.PathLike[str]) -> int:
        """Write `state()` to a file, which is complete or not there; its size in bytes. RwkvError `cannot-write`."""
        return write_state(path, await self.state())

    def load_state(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Go on from a file: one of `save_state`, or a state-tuned one. RwkvErrors of `open_state` and `set_state`."""
        from py_rwkv.checkpoint.source import FileSource
        from py_rwkv.checkpoint.time_state import open_state

        self.set_state(open_state(FileSource(path), self.engine.config), force=force)

    def fork(self) -> Session:
        """Another session that remembers the same. RwkvError `no-free-slot`, `session-busy`."""
        self.engine.scheduler.check_idle(self.slot)
        other = self.engine.session()
        self.engine.device.copy_state(self.slot, other.slot)
        other.tokens[:] = self.tokens
        return other

    def close(self) -> None:
        """Give the slot back."""
        self.engine.release(self.slot)
