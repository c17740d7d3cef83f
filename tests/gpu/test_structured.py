"""Masks on the device: candidates and log Σ exp are those of the allowed tokens, for each session of a batch its own, and nothing else costs more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from json_checks import parse, valid
from models import engine_of
from tiny_model import weights

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.models.config import Config
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.generate import Finish, generate
from py_rwkv.runtime.sampling import Sampling
from py_rwkv.structured import Grammar, json_schema, regex

BYTES = Config("7", 2, 64, 1, 64, 256, 256, {"w": 16, "a": 16, "v": 16, "g": 16})
SCHEMA = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["a", "b"]},
        "n": {"type": "integer", "minimum": 10, "maximum": 99},
    },
    "required": ["text", "kind", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=[WgpuDevice, NumpyDevice], ids=["wgpu", "numpy"])
def engine(request: Any) -> Engine:
    model = {name: w * np.float32(0.25) for name, w in weights(BYTES).items()}
    return asyncio.run(engine_of(model, request.param(), slots=4))


def mask_of(tokens: list[int]) -> bytes:
    return np.packbits(np.isin(np.arange(256), tokens), bitorder="little").tobytes()


async def candidates(engine: Engine, masks: list[bytes]) -> list[Any]:
    """Of sessions that step together after different prompts."""
    sessions = [engine.session() for _ in masks]
    try:
        found = await asyncio.gather(*(s.prefill([i + 1, 7, i + 3], None, m) for i, (s, m) in enumerate(zip(sessions, masks, strict=True))))
        more = await asyncio.gather(*(s.step(9, m) for s, m in zip(sessions, masks, strict=True)))
        return [*found, *more]
    finally:
        for session in sessions:
            session.close()


def test_candidates_are_those_that_the_mask_allows(engine: Engine) -> None:
    """One session with half of the tokens, one with three, one without a mask, one with all."""
    sets = [list(range(0, 256, 2)), [5, 77, 200], [], list(range(256))]
    found = asyncio.run(candidates(engine, [mask_of(s) if s else b"" for s in sets]))
    plain = asyncio.run(candidates(engine, [b""] * 4))
    for got, whole, tokens in zip(found, plain, sets * 2, strict=True):
        logits = dict(zip(whole.ids, whole.logits, strict=True))
        expected = sorted(tokens or logits, key=lambda t: (-logits[t], t))
        assert list(got.ids) == expected
        assert list(got.logits) == [logits[t] for t in expected]
        assert got.logsumexp == pytest.approx(np.logaddexp.reduce([logits[t] for t in expected]), abs=1e-5)


async def text(engine: Engine, grammar: Grammar | None, seed: int) -> str:
    session, pieces = engine.session(), []
    try:
        events: AsyncIterator[Any] = generate(
            session,
            list(b"JSON:"),
            tokenizer=engine.tokenizer,
            sampling=Sampling(temperature=1.5, top_p=1, seed=seed),
            stop_tokens=(),
            max_tokens=60,
            grammar=grammar,
        )
        async for event in events:
            if isinstance(event, Finish):
                assert grammar is None or event.reason == "stop"
            else:
                pieces.append(event.text)
    finally:
        session.close()
    return "".join(pieces)


def test_sessions_with_and_without_a_grammar_run_side_by_side(engine: Engine) -> None:
    async def together() -> list[str]:
        return await asyncio.gather(*(text(engine, g, 1) for g in GRAMMARS))

    async def alone() -> list[str]:
        return [await text(engine, g, 1) for g in GRAMMARS]

    GRAMMARS = [json_schema(SCHEMA), regex("[a-f]{3,9}-\\d"), None]
    found = asyncio.run(together())
    assert found == asyncio.run(alone())
    assert valid(parse(found[0]), SCHEMA), found[0]
    assert GRAMMARS[1] is not None and GRAMMARS[1].accepts(found[1])


@pytest.mark.parametrize("seed", range(10))
def test_outputs_are_valid(engine: Engine, seed: int) -> None:
    found = asyncio.run(text(engine, json_schema(SCHEMA), seed))
    assert valid(parse(found), parse(json.dumps(SCHEMA))), found


def test_a_mask_is_one_write_and_none_without_a_grammar(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, int]] = []
    write: Callable[..., None] = engine.device.write
    monkeypatch.setattr(engine.device, "write", lambda name, at, data: (written.append((name, len(data))), write(name, at, data))[1])

    async def steps(mask: bytes) -> None:
        session = engine.session()
        await session.prefill([1, 2], None, mask)
        for _ in range(3):
            await session.step(3, mask)
        session.close()

    asyncio.run(steps(b""))
    assert written == []
    asyncio.run(steps(mask_of([1])))
    assert written == [("masks", 32)] * 4
