"""Several answers side by side: whose turn it is when there are more than conversations, and the choices of one request as one stream of events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Turns:
    """Lets so many in at a time. Who gets the next place: the one whose request has the fewest under way, of equals who came first. So a request with many
    choices cannot keep others waiting until it is done."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._under_way: Counter[object] = Counter()
        self._waiting: list[tuple[object, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, owner: object) -> AsyncIterator[None]:
        """A place, for as long as the context lasts. owner: what those that belong together have in common."""
        if self._waiting or self._under_way.total() >= self.places:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((owner, future))
            try:
                await future
            except BaseException:
                if future.done() and not future.cancelled():
                    self._leave(owner)
                else:
                    self._waiting.remove((owner, future))
                raise
        else:
            self._under_way[owner] += 1
        try:
            yield
        finally:
            self._leave(owner)

    def _leave(self, owner: object) -> None:
        self._under_way[owner] -= 1
        if not self._under_way[owner]:
            del self._under_way[owner]
        while self._waiting and self._under_way.total() < self.places:
            chosen = min(self._waiting, key=lambda entry: self._under_way[entry[0]])
            self._waiting.remove(chosen)
            if not chosen[1].done():
                self._under_way[chosen[0]] += 1
                chosen[1].set_result(None)


async def together(
    runs: Sequence[Callable[[Callable[[], bool]], AsyncIterator[T]]], cancel: Callable[[], bool]
) -> AsyncIterator[tuple[int, T]]:
    """(which, what) of several iterators that run at the same time. Each is made with a `cancel` that also says when the reader has left or another has
    failed; the first failure is raised when all have ended."""
    if len(runs) == 1:  # driven by the reader, without a task
        only: Any = runs[0](cancel)
        async with aclosing(only):
            async for event in only:
                yield 0, event
        return
    queue: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()
    left, failure = False, list[BaseException]()

    async def drive(i: int) -> None:
        events: Any = runs[i](lambda: left or bool(failure) or cancel())
        try:
            async with aclosing(events):
                async for event in events:
                    queue.put_nowait((i, event))
        except Exception as e:
            failure.append(e)
        finally:
            queue.put_nowait(None)

    tasks = [asyncio.ensure_future(drive(i)) for i in range(len(runs))]
    try:
        going = len(tasks)
        while going:
            if (found := await queue.get()) is None:
                going -= 1
            elif not failure:
                yield found
        if failure:
            raise failure[0]
    finally:
        left = True
        await asyncio.gather(*tasks, return_exceptions=True)
