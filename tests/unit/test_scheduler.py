"""Many sessions, one step: who takes part, in what order, and that nobody notices the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import engine_of
from tiny_model import OLDER, weights

from py_rwkv.chat.service import ChatService
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.program import Step
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.scheduler import Scheduler, Share, Work, share

VOCAB = 40


def work(slot: int, rows: int, want: Any = "candidates", cancel: Callable[[], bool] | None = None) -> Work:
    return Work(slot, [slot] * rows, want, [], cancel)


# ── who takes part ──

WORKS = st.lists(st.tuples(st.integers(1, 300), st.sampled_from(["none", "last", "full", "candidates"])), min_size=1, max_size=40)


@given(WORKS, st.integers(2, 128), st.integers(2, 40))
def test_a_step_is_full_and_within_its_limits(sizes: list[tuple[int, Any]], rows: int, outputs: int) -> None:
    queue = [work(i, n, want) for i, (n, want) in enumerate(sizes)]
    batch = share(queue, rows, outputs)
    assert len({w.slot for w, _ in batch}) == len(batch) and all(0 < n <= w.left for w, n in batch)
    used, made = sum(n for _, n in batch), sum(w.outputs(n) for w, n in batch)
    assert 0 < used <= rows and made <= outputs
    if all(want == "none" for _, want in sizes):  # nothing but rows is scarce
        assert used == min(rows, sum(n for n, _ in sizes))


@given(WORKS, st.integers(2, 32), st.integers(2, 9))
@settings(deadline=None)
def test_nobody_starves_while_others_decode_without_end(sizes: list[tuple[int, Any]], rows: int, outputs: int) -> None:
    """40 decoders come back after every step; all the others are done in about as many steps as their rows and outputs take in a quarter of each."""
    waiting = [work(i, n, want) for i, (n, want) in enumerate(sizes)]
    queue = waiting + [work(100 + i, 1) for i in range(40)]
    need = sum(n * (rows // 2 if want == "full" else 1) for n, want in sizes)
    for _ in range(40 * 40 + 4 * need):
        batch = share(queue, rows, outputs)
        taken = {w for w, _ in batch}
        queue = [w for w in queue if w not in taken]
        for w, n in batch:
            if w.slot < 100:
                w.fed += n
            if w.left:
                queue.append(w)
        if not any(w.left for w in waiting):
            return
    pytest.fail(f"left: {[w.left for w in waiting]}")


def test_decoders_come_first_and_long_ones_share_the_rest() -> None:
    long, short, decoder = work(0, 2000), work(1, 5), work(2, 1)
    assert {w.slot: n for w, n in share([long, short, decoder], 32, 8)} == {0: 26, 1: 5, 2: 1}
    assert {w.slot: n for w, n in share([work(0, 500), work(1, 500)], 32, 8)} == {0: 16, 1: 16}
    assert [(w.slot, n) for w, n in share([work(i, 9, "full") for i in range(3)], 32, 8)] == [(0, 2), (1, 3), (2, 3)]


# ── the scheduler, with a device that only counts ──


class Recorder:
    """Feeds whatever it is told to, and remembers every step: {slot: rows}."""

    def __init__(self, rows: int = 32, outputs: int = 8, *, blocking: bool = False) -> None:
        self.steps: list[dict[int, int]] = []
        self.fail: Callable[[list[Share]], Exception | None] = lambda batch: None
        self.scheduler = Scheduler(self.advance, rows, outputs, blocking=blocking)

    async def advance(self, batch: list[Share]) -> None:
        self.steps.append({w.slot: n for w, n in batch})
        if not self.scheduler.blocking:
            await asyncio.sleep(0)
        if error := self.fail(batch):
            raise error
        for w, n in batch:
            w.seen.extend(w.tokens[w.fed : w.fed + n])
            w.fed += n

    async def decode(self, slot: int, tokens: int) -> None:
        for _ in range(tokens):
            await self.scheduler.do(work(slot, 1))


def together(*jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run them at once; their results or exceptions."""

    async def run() -> list[Any]:
        return await asyncio.gather(*jobs, return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize("blocking", [False, True])
def test_many_decoders_share_every_step(blocking: bool) -> None:
    r = Recorder(outputs=16, blocking=blocking)
    together(*(r.decode(slot, 50) for slot in range(16)))
    assert sum(map(len, r.steps)) == 16 * 50
    assert len(r.steps) <= 52  # the first session starts before it knows of the others


@pytest.mark.parametrize("blocking", [False, True])
def test_decoders_take_part_in_every_step_of_a_long_prompt(blocking: bool) -> None:
    r = Recorder(blocking=blocking)
    together(*(r.decode(slot, 69) for slot in range(3)), r.scheduler.do(work(9, 2000)))
    during = [s for s in r.steps if 9 in s]
    assert len(during) <= 2000 // 29 + 2
    assert all(sum(s.values()) == 32 for s in during[2:-1])
    assert all({0, 1, 2} <= set(s) for s in during[2:-2])


def test_two_prompts_get_on_alike() -> None:
    r, ends = Recorder(), {}

    async def prompt(slot: int, rows: int) -> None:
        await r.scheduler.do(work(slot, rows))
        ends[slot] = len(r.steps)

    together(prompt(0, 1000), prompt(1, 1000), prompt(2, 30))
    assert ends[2] <= 5  # a short one does not wait for the long ones
    assert abs(ends[0] - ends[1]) <= 2 and max(ends.values()) <= 2030 // 32 + 2


def test_a_lone_session_needs_no_task_and_one_step_a_token() -> None:
    r = Recorder()

    async def run() -> None:
        await r.decode(0, 20)
        await r.scheduler.do(work(0, 100))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert r.steps == [{0: 1}] * 20 + [{0: 32}] * 3 + [{0: 4}]


def test_nothing_runs_when_there_is_no_work() -> None:
    r = Recorder()

    async def run() -> None:
        await asyncio.gather(r.decode(0, 3), r.decode(1, 5), r.scheduler.do(work(2, 70)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_outputs_are_rationed() -> None:
    r = Recorder(outputs=4)
    together(*(r.decode(slot, 10) for slot in range(10)))
    assert max(map(len, r.steps)) == 4 and len(r.steps) <= 100 / 4 + 4


@pytest.mark.parametrize("others", [0, 3])
def test_a_cancelled_prompt_leaves_the_others_alone(others: int) -> None:
    r = Recorder()
    stopped = work(9, 2000, cancel=lambda: len(r.steps) >= 8)
    results = together(r.scheduler.do(stopped), *(r.decode(slot, 30) for slot in range(others)))
    assert isinstance(results[0], RwkvError) and results[0].code == "cancelled" and results[1:] == [None] * others
    assert len(stopped.seen) == stopped.fed == sum(s.get(9, 0) for s in r.steps) > 100
    assert sum(map(len, r.steps)) - sum(9 in s for s in r.steps) == 30 * others


def test_a_task_that_is_cancelled_gives_up_its_place() -> None:
    r, long = Recorder(), work(9, 4000)

    async def run() -> None:
        decoders = [asyncio.ensure_future(r.decode(slot, 30)) for slot in range(2)]
        task = asyncio.ensure_future(r.scheduler.do(long))
        while len(r.steps) < 10:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(*decoders)
        with pytest.raises(asyncio.CancelledError):
            await task
        await r.scheduler.do(work(9, 1))  # its slot is free again

    asyncio.run(run())
    assert 200 < long.fed == len(long.seen) < 400


@pytest.mark.parametrize("blocking", [False, True])
def test_errors_reach_those_who_took_part(blocking: bool) -> None:
    r = Recorder(rows=4, outputs=4, blocking=blocking)
    bad = RwkvError("internal", reason="a kernel broke")
    r.fail = lambda batch: bad if any(w.slot == 5 for w, _ in batch) else None
    results = together(*(r.decode(slot, 4) for slot in range(8)))
    failed = [i for i, e in enumerate(results) if e]
    assert 5 in failed and len(failed) <= 4  # a step of four
    assert all(results[i].code == "internal" and results[i] is not bad for i in failed)


def test_a_lost_device_reaches_everybody_and_the_next_one_works() -> None:
    r = Recorder(rows=4)
    r.fail = lambda batch: RwkvError("device-lost", reason="unplugged") if len(r.steps) > 5 else None
    results = together(*(r.decode(slot, 10) for slot in range(12)))
    assert [e.code for e in results] == ["device-lost"] * 12
    r.fail = lambda batch: None
    assert together(r.decode(0, 3), r.decode(1, 3)) == [None, None]


def test_a_callback_that_breaks_hurts_only_its_own_session() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    r = Recorder()
    results = together(r.decode(0, 5), r.decode(1, 5), r.scheduler.do(work(2, 90, cancel=broken)))
    assert results[:2] == [None, None] and isinstance(results[2], ZeroDivisionError)


def test_one_thing_at_a_time_per_session_and_a_closed_one_ends() -> None:
    r = Recorder()

    async def close() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        r.scheduler.leave(0)
        await r.scheduler.do(work(0, 2))  # the slot's next owner

    results = together(r.scheduler.do(work(0, 4000)), r.scheduler.do(work(0, 1)), r.decode(1, 9), close())
    assert [e and e.code for e in results] == ["cancelled", "session-busy", None, None]


# ── the same numbers as alone ──


class Counting(NumpyDevice):
    """numpy that takes small steps and remembers them."""

    prefill = replace(NumpyDevice.prefill, chunk=16)

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    async def run(self, program: str, step: Step, read: str = "", nbytes: int = 0) -> bytes:
        self.steps.append(step)
        return await super().run(program, step, read, nbytes)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return asyncio.run(engine_of(scaled(OLDER["6"]), Counting(), slots=6))


def scaled(config: Any) -> dict[str, np.ndarray]:
    return {n: w * np.float32(0.3) for n, w in weights(config).items()}


def test_n_decoders_over_t_tokens_are_t_steps(engine: Engine) -> None:
    device: Any = engine.device
    sessions = [engine.session() for _ in range(6)]

    async def decode(session: Any) -> None:
        for token in range(20):
            await session.step(token)

    device.steps.clear()
    together(*map(decode, sessions))
    assert len(device.steps) <= 21 and sum(s.rows for s in device.steps) == 120
    for s in sessions:
        s.close()


Chunk = tuple[str, list[int], str]  # what to do, tokens, logits
CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["prefill", "step", "feed", "embeddings", "pause"]),
        st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=60),
        st.sampled_from(["none", "last", "full"]),
    ),
    min_size=1,
    max_size=4,
)


async def follow(session: Any, plan: list[Chunk], table: np.ndarray) -> list[np.ndarray]:
    """What a session says to its plan."""
    said = []
    for action, tokens, logits in plan:
        if action == "prefill":
            said.append(await session.prefill(tokens))
        elif action == "step":
            said += [await session.step(t) for t in tokens[:5]]
        elif action == "feed":
            said.append(await session.feed(tokens[:40], logits))
        elif action == "embeddings":
            said.append(await session.feed_embeddings(table[tokens[:40]], logits))
        else:
            await asyncio.sleep(0)
    return [np.frombuffer(s, np.float32) if isinstance(s, bytes) else np.array(s.logits[:10]) for s in said]


@given(st.lists(CHUNKS, min_size=2, max_size=6))
@settings(max_examples=12, deadline=None)
def test_any_schedule_gives_what_each_session_gives_alone(engine: Engine, plans: list[list[Chunk]]) -> None:
    table = scaled(OLDER["6"])["emb.weight"]

    async def run(plans: list[list[Chunk]]) -> tuple[list[Any], list[Any]]:
        sessions = [engine.session() for _ in plans]
        try:
            said = await asyncio.gather(*(follow(s, p, table) for s, p in zip(sessions, plans, strict=True)))
            states = [{k: np.frombuffer(v, np.float32) for k, v in (await engine.device.read_state(s.slot)).items()} for s in sessions]
            return list(zip(said, [list(s.tokens) for s in sessions], strict=True)), states
        finally:
            for s in sessions:
                s.close()

    said, states = asyncio.run(run(plans))
    for plan, (found, tokens), state in zip(plans, said, states, strict=True):
        [(expected, fed)], [alone] = asyncio.run(run([plan]))
        assert tokens == fed
        assert all(np.abs(a - b).max(initial=0) < 1e-4 for a, b in zip(expected, found, strict=True))
        assert all(np.abs(alone[k] - state[k]).max() < 1e-4 for k in alone)


@pytest.mark.parametrize(
    ("rows", "code"),
    [(b"", "empty-prompt"), (b"abc", "bad-embeddings"), (np.zeros((2, 19), "f4"), "bad-embeddings"), (np.zeros((1, 20)), "bad-embeddings")],
)
def test_embeddings_have_a_shape(engine: Engine, rows: Any, code: str) -> None:
    session = engine.session()
    with pytest.raises(RwkvError) as caught:
        asyncio.run(session.feed_embeddings(rows))
    session.close()
    assert caught.value.code == code


def test_a_model_packed_without_ln0_takes_no_embeddings(engine: Engine) -> None:
    norm = engine.manifest.tensors.pop("blocks.0.ln0.weight")
    session = engine.session()
    try:
        with pytest.raises(RwkvError) as caught:
            asyncio.run(session.feed_embeddings(np.zeros((2, 20), "f4")))
    finally:
        engine.manifest.tensors["blocks.0.ln0.weight"] = norm
        session.close()
    assert caught.value.code == "no-input-norm"


def test_chats_share_steps_and_say_what_they_say_alone() -> None:
    device = Counting()
    chats = ChatService(asyncio.run(engine_of(scaled(replace(OLDER["6"], vocab=256)), device, slots=4)))
    requests = [{"prompt": "a" * (20 * i + 1), "max_tokens": 24, "seed": i, "temperature": 1.0} for i in range(3)]

    def answers(*some: Any) -> tuple[list[str], int]:
        device.steps.clear()
        said = together(*map(chats.complete, some))
        return [s["choices"][0]["text"] for s in said], len(device.steps)

    alone = [answers(r) for r in requests]
    for session in chats.sessions:
        session.reset()
    said, steps = answers(*requests)
    assert said == [text for [text], _ in alone]
    assert steps <= max(n for _, n in alone) + 4 < sum(n for _, n in alone)


@pytest.mark.parametrize("outputs", [1, 129])
def test_outputs_have_a_range(outputs: int) -> None:
    from models import packed

    from py_rwkv.native import _Ready

    manifest, shards = packed(scaled(OLDER["4"]))
    load: Awaitable[Engine] = Engine.load(manifest, _Ready(shards), NumpyDevice(), max_outputs=outputs)
    with pytest.raises(RwkvError) as caught:
        asyncio.run(load)  # type: ignore[arg-type]
    assert caught.value.code == "bad-setting"
