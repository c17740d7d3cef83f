"""Who takes part in the next step: sessions hand in work, steps are formed so that each is full and nobody waits for long. Knows no device.

A session by itself drives its steps from its own coroutine, without a detour through the event loop. As soon as a second one hands in work, a task
(the pump) forms the steps for all of them, until one session or none is left. So nothing runs, and nothing polls, while there is no work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates

# logits of no row, of the last, of every row; the best candidates after the last; tokens drawn by the device
Want = Literal["none", "last", "full", "candidates", "draws"]
PATIENCE = 4  # turns of the event loop that a step waits for those whose token the last one made: they sample, and come back


@dataclass(eq=False, slots=True)
class Work:
    """Rows that one session wants fed, and what it wants to know. `fed`, `logits`, `candidates`, `draws` and `seen` grow with every step it takes part in."""

    slot: int
    tokens: Sequence[int]  # NO_TOKEN for a row of `embeddings`
    want: Want
    seen: list[int]  # the session's tokens: what its state holds
    cancel: Callable[[], bool] | None = None
    embeddings: memoryview | None = None  # bytes of f32 [len(tokens), C]
    fed: int = 0
    logits: bytearray = field(default_factory=bytearray)
    candidates: Candidates | None = None
    most: int = 0  # draws wanted; as many as one submit makes come back
    counter: int = 0  # draws made before
    draws: list[tuple[int, float]] = field(default_factory=list)  # token, its log-probability
    failure: str = ""  # the code of the error that ended them
    mask: bytes = b""  # u32 words, a bit per token: which ones may be candidates; empty: all
    future: asyncio.Future[None] | None = None  # of one that waits in the queue

    @property
    def left(self) -> int:
        return len(self.tokens) - self.fed

    def outputs(self, rows: int) -> int:
        """How many of the next `rows` rows have to go through the head."""
        return rows if self.want == "full" else int(self.want != "none" and rows == self.left)

    def ahead(self, rows: int) -> Sequence[int]:
        """The next rows' tokens."""
        return self.tokens[self.fed : self.fed + rows]

    def rows_ahead(self, rows: int) -> bytes:
        """The next rows' embeddings."""
        assert self.embeddings is not None
        size = len(self.embeddings) // len(self.tokens)
        return bytes(self.embeddings[self.fed * size : (self.fed + rows) * size])

    def advance(self, rows: int) -> None:
        """So many rows are in the state now."""
        self.seen.extend(self.ahead(rows))
        self.fed += rows

    def stopped(self) -> bool:
        """Nobody waits for it any more, or its `cancel` says so (and then it ends with RwkvError `cancelled`)."""
        try:
            if self.future and self.future.done():
                return True
            if self.cancel is None or not self.cancel():
                return False
            raise RwkvError("cancelled")
        except Exception as error:
            if self.future is None:
                raise
            self.future.set_exception(error)
            return True


Share = tuple[Work, int]  # takes part with so many rows
Advance = Callable[[list[Share]], Awaitable[None]]  # one step


def share(queue: Sequence[Work], rows: int, outputs: int) -> list[Share]:
    """The next step, from work in the order in which it was served last (longest ago first): at most so many rows, and rows with outputs.

    One row each for those that have one left: they decode. The rest in equal parts for the long ones, what one does not need going to the others; a
    quarter of the rows is theirs in any case, and one output if they want every row's. So everybody gets on, whatever the others do (2 rows and 2 outputs
    provided).
    """
    single, long = [w for w in queue if w.left == 1], [w for w in queue if w.left > 1]
    batch: list[Share] = []
    most = rows - min(-(-rows // 4), sum(w.left for w in long))
    kept = int(outputs > 1 and any(w.want == "full" for w in long))
    for work in single:
        if len(batch) < most and work.outputs(1) <= outputs - kept:
            batch.append((work, 1))
            outputs -= work.outputs(1)
    rows -= len(batch)
    long = sorted(long[:rows], key=lambda w: (w.want != "full", w.left))  # those that may get less than their part first
    full = sum(w.want == "full" for w in long)
    for i, work in enumerate(long):
        take = min(work.left, rows // (len(long) - i))
        if work.want == "full":
            take = min(take, max(outputs // (full - i), min(outputs, 1)))
        elif work.outputs(take) > outputs:
            take -= 1
        if take:
            batch.append((work, take))
            rows -= take
            outputs -= work.outputs(take)
    return batch


class Scheduler:
    """`rows`, `outputs`: the most a step takes. `blocking`: `advance` never lets the event loop run, so the scheduler has to."""

    def __init__(self, advance: Advance, rows: int, outputs: int, *, blocking: bool) -> None:
        self.rows, self.outputs, self.blocking = rows, outputs, blocking
        self._advance = advance
        self._queue: list[Work] = []  # served longest ago first
        self._busy: dict[int, Work] = {}  # by slot
        self._back: set[int] = set()  # slots whose work the last step finished and that have not come back yet
        self._driven = False  # somebody forms steps: a lone session, or the pump
        self._pump: asyncio.Task[None] | None = None

    async def do(self, work: Work) -> None:
        """Feed all of it. RwkvError `session-busy`, `cancelled` (`work.seen` says how far it came), or what the device says."""
        self.check_idle(work.slot)
        self._busy[work.slot] = work
        self._back.discard(work.slot)
        try:
            if not self._driven:
                await self._alone(work)
            if work.left:
                work.future = asyncio.get_running_loop().create_future()
                self._queue.append(work)
                await work.future
        finally:
            if self._busy.get(work.slot) is work:
                del self._busy[work.slot]

    def check_idle(self, slot: int) -> None:
        """RwkvError `session-busy` while the session of this slot has work under way."""
        if slot in self._busy:
            raise RwkvError("session-busy")

    def leave(self, slot: int) -> None:
        """The session of this slot is gone: its work ends with RwkvError `cancelled`."""
        self._back.discard(slot)
        if work := self._busy.pop(slot, None):
            work.cancel = lambda: True
            self._fail([work], RwkvError("cancelled"))

    def close(self) -> None:
        """All of them are gone."""
        for slot in list(self._busy):
            self.leave(slot)

    async def _alone(self, work: Work) -> None:
        """Step after step for one session, until it is done or somebody else has come."""
        self._driven = True
        try:
            while work.left:
                if self.blocking:
                    await asyncio.sleep(0)
                if self._queue:
                    break
                work.stopped()
                await self._advance([(work, 1)] if work.left == 1 else share([work], self.rows, self.outputs))
        finally:
            self._driven = False
            if self._queue:
                self._back = {work.slot} if not work.left else set()
                self._driven, self._pump = True, asyncio.ensure_future(self._steps())

    async def _steps(self) -> None:
        """The pump: steps for everybody, until one session or none is left."""
        batch: list[Share] = []
        try:
            while self._queue or len(self._back) > 1:
                await self._gather()
                self._queue = [w for w in self._queue if not w.stopped()]
                if not self._queue:
                    break
                batch = share(self._queue, self.rows, self.outputs)
                taken = {w for w, _ in batch}
                self._queue = [w for w in self._queue if w not in taken]
                await self._step(batch)
        finally:
            self._driven = False
            self._back.clear()
            self._fail(
                [*self._queue, *(w for w, _ in batch)], RwkvError("cancelled")
            )  # some are left only if the event loop ends in the middle
            self._queue.clear()

    async def _gather(self) -> None:
        """Let those whose token the last step made hand in the next one."""
        turns = int(self.blocking)
        if self.blocking:
            await asyncio.sleep(0)
        while self._back and turns < PATIENCE:
            turns += 1
            await asyncio.sleep(0)

    async def _step(self, batch: list[Share]) -> None:
        try:
            await self._advance(batch)
        except Exception as error:
            lost = isinstance(error, RwkvError) and error.code == "device-lost"
            self._fail([w for w, _ in batch] + (self._queue if lost else []), error)
        else:
            for work, _ in batch:
                if work.left:
                    self._queue.append(work)
                elif work.future and not work.future.done():
                    work.future.set_result(None)
        self._back = {w.slot for w, _ in batch if w.left == 0 and self._busy.get(w.slot) is w}

    def _fail(self, works: Sequence[Work], error: Exception) -> None:
        for work in works:
            if work.future and not work.future.done():  # each its own, or their tracebacks run together
                work.future.set_exception(RwkvError(error.code, **error.details) if isinstance(error, RwkvError) else error)
