"""Tokens drawn on the device: the text of the step-by-step path, a state that ends exactly where the text ends, and one replay call for many tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import engine_of
from tiny_model import OLDER, weights

from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.generate import Delta, Event, Finish, generate
from py_rwkv.runtime.sampling import Sampler, Sampling

BYTES = Config("7", 2, 64, 1, 64, 256, 256, {"w": 16, "a": 16, "v": 16, "g": 16})
PROMPT = list(b"The quick brown")
KINDS = {
    "greedy": Sampling(temperature=0, presence_penalty=0.4, frequency_penalty=0.3, seed=1),
    "nucleus": Sampling(temperature=1.3, top_p=0.7, seed=7, penalty_decay=0.9),
    "everything": Sampling(temperature=1, top_p=1, top_k=0, presence_penalty=0, frequency_penalty=0, seed=-5),
    "best-40": Sampling(temperature=0.7, top_p=1, top_k=40, frequency_penalty=2, seed=1 << 60, ban=tuple(range(97, 110))),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    model = {name: w * np.float32(0.25) for name, w in weights(BYTES).items()}
    return asyncio.run(engine_of(model, WgpuDevice(), slots=3))


async def text(
    engine: Engine, sampling: Sampling, *, burst: int | None, cancel_after: int = 1 << 30, **options: Any
) -> tuple[list[Event], Any]:
    """The events of a generation, drawn in bursts of so many tokens or (None) step by step, and the session."""
    draws, engine.draws = engine.draws, engine.draws if burst else None
    session, events = engine.session(), []
    if engine.draws:
        engine.draws.fixed = burst
    try:
        options = {"max_tokens": 40, "stop_tokens": ()} | options
        cancel = lambda: len(events) >= cancel_after  # noqa: E731
        async for event in generate(session, PROMPT, tokenizer=engine.tokenizer, sampling=sampling, cancel=cancel, **options):
            events.append(event)
    finally:
        engine.draws = draws
    return events, session


def tokens(events: list[Event]) -> list[int]:
    return [t for e in events if isinstance(e, Delta) for t in e.tokens]


async def state_after(engine: Engine, fed: list[int]) -> dict[str, np.ndarray]:
    session = engine.session()
    await session.feed(fed, "none")
    state = (await session.state()).tensors
    session.close()
    return {k: np.frombuffer(v, np.float32) for k, v in state.items()}


async def assert_exact(engine: Engine, session: Any, finish: Finish) -> None:
    """The session's state is that of the tokens it says it has seen: the prompt and all but the pending one."""
    found = {k: np.frombuffer(v, np.float32) for k, v in (await session.state()).tensors.items()}
    assert session.tokens == [*finish.fed_tokens] and session.tokens[: len(PROMPT)] == PROMPT
    for name, expected in (await state_after(engine, session.tokens)).items():
        assert np.abs(found[name] - expected).max() <= 1e-4 * (1 + np.abs(expected).max()), name


@pytest.mark.parametrize("burst", [1, 3, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_that_of_the_step_by_step_path(engine: Engine, kind: str, burst: int) -> None:
    async def run() -> None:
        expected, one = await text(engine, KINDS[kind], burst=None)
        found, other = await text(engine, KINDS[kind], burst=burst)
        assert tokens(found) == tokens(expected) and len(tokens(found)) == 40
        logprobs = [[p for e in events if isinstance(e, Delta) for p in e.logprobs] for events in (found, expected)]
        assert np.abs(np.subtract(*logprobs)).max() < 1e-4
        await assert_exact(engine, other, found[-1])  # type: ignore[arg-type]
        one.close(), other.close()

    asyncio.run(run())


def test_a_stop_token_freezes_the_state_where_the_text_ends(engine: Engine) -> None:
    async def run() -> None:
        plain, session = await text(engine, KINDS["nucleus"], burst=None)
        session.close()
        stop = tokens(plain)[11]
        expected, session = await text(engine, KINDS["nucleus"], burst=None, stop_tokens=(stop, 999))
        session.close()
        found, session = await text(engine, KINDS["nucleus"], burst=8, stop_tokens=(stop, 999))
        assert tokens(found) == tokens(expected)
        finish = found[-1]
        assert isinstance(finish, Finish) and finish.reason == "stop" and finish.pending_token == stop
        await assert_exact(engine, session, finish)
        session.close()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["stop-string", "cancel", "left"])
def test_what_was_drawn_too_far_is_forgotten(engine: Engine, how: str) -> None:
    """A stop string, a cancel and a reader who leaves come in the middle of what one submit has drawn."""

    async def run() -> None:
        sampling = replace(KINDS["nucleus"], ban=tuple(range(128, 256)))
        plain, session = await text(engine, sampling, burst=None)
        session.close()
        if how == "left":
            session = engine.session()
            assert engine.draws
            engine.draws.fixed = 8
            stream = generate(session, PROMPT, tokenizer=engine.tokenizer, sampling=sampling, stop_tokens=(), max_tokens=40)
            for _ in range(5):
                await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
            assert session.tokens == PROMPT + tokens(plain)[:4]
        else:
            said = bytes(tokens(plain)).decode()
            options: dict[str, Any] = {"stops": (said[12:14],)} if how == "stop-string" else {"cancel_after": 13}
            expected, other = await text(engine, sampling, burst=None, **options)
            other.close()
            found, session = await text(engine, sampling, burst=8, **options)
            assert tokens(found) == tokens(expected) and 8 < len(tokens(found)) < 17
            await assert_exact(engine, session, found[-1])  # type: ignore[arg-type]
        found_state = {k: np.frombuffer(v, np.float32) for k, v in (await session.state()).tensors.items()}
        for name, expected_state in (await state_after(engine, session.tokens)).items():
            assert np.abs(found_state[name] - expected_state).max() <= 1e-4 * (1 + np.abs(expected_state).max()), name
        session.close()

    asyncio.run(run())


def test_sessions_draw_together_and_beside_others(engine: Engine) -> None:
    """Two texts and a long prompt at once say what each says alone."""

    async def run() -> None:
        expected = []
        for kind in ("nucleus", "best-40"):
            events, session = await text(engine, KINDS[kind], burst=4)
            expected.append(tokens(events))
            session.close()

        async def prompt() -> bytes:
            session = engine.session()
            logits = await session.feed([i * 7 % 256 for i in range(200)], "last")
            session.close()
            return logits

        alone = np.frombuffer(await prompt(), np.float32)
        both = await asyncio.gather(text(engine, KINDS["nucleus"], burst=4), text(engine, KINDS["best-40"], burst=4), prompt())
        assert [tokens(events) for events, _ in both[:2]] == expected
        assert np.abs(np.frombuffer(both[2], np.float32) - alone).max() < 1e-4
        for _, session in both[:2]:
            session.close()

    asyncio.run(run())


def test_one_submit_makes_many_tokens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        calls = 0
        original = engine.device.run

        async def counted(*args: Any, **kwargs: Any) -> bytes:
            nonlocal calls
            calls += 1
            return await original(*args, **kwargs)

        monkeypatch.setattr(engine.device, "run", counted)
        _, session = await text(engine, KINDS["nucleus"], burst=8, max_tokens=33)
        session.close()
        return calls

    assert asyncio.run(run()) == 1 + 4  # the prompt and its first token; 32 more


@pytest.mark.parametrize("version", OLDER)
def test_every_version_halts(version: str) -> None:
    """No kernel of any version touches the state of a run that is over."""

    async def run() -> None:
        config = replace(OLDER[version], vocab=256)
        engine = await engine_of({name: w * np.float32(0.25) for name, w in weights(config).items()}, WgpuDevice(), slots=3)
        plain, session = await text(engine, KINDS["nucleus"], burst=None, max_tokens=8)
        session.close()
        found, session = await text(engine, KINDS["nucleus"], burst=8, stop_tokens=(tokens(plain)[3],))
        assert tokens(found) == tokens(plain)[: len(tokens(found))]
        await assert_exact(engine, session, found[-1])  # type: ignore[arg-type]

    asyncio.run(run())


def test_logits_that_are_no_numbers_are_an_error(engine: Engine) -> None:
    async def run() -> None:
        session = engine.session()
        states = {name: b"\xff" * len(data) for name, data in (await engine.read_state(session.slot)).items()}  # NaN
        engine.device.write_state(session.slot, states)
        assert session.drawing(Sampler(KINDS["nucleus"]), (), 10)
        with pytest.raises(RwkvError) as error:
            await session.draw(5, 0, 4)
        assert error.value.code == "not-a-number"
        session.close()

    asyncio.run(run())
