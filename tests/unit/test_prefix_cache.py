"""Requests begin at the longest beginning whose state is kept, and answer as if they had read everything: on a tiny model, all on numpy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import engine_of
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.chat.prefix_cache import MemoryVault, decode_candidates, encode_candidates
from py_rwkv.chat.service import ChatService
from py_rwkv.checkpoint.state_file import State, decode_state, encode_state
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.sampling import Candidates

GREEDY = {"temperature": 0, "presence_penalty": 0, "frequency_penalty": 0, "max_tokens": 6, "template": "plain"}
ASCII = {"ban": list(range(128, 256))}  # else a random model writes half characters


class Counting(NumpyDevice):
    """Counts the tokens that went through the model."""

    fed = 0

    async def run(self, program: str, step: Any, *rest: Any, **more: Any) -> bytes:
        self.fed += step.rows
        return await super().run(program, step, *rest, **more)


def engine(version: str = "7") -> Engine:
    config = replace(OLDER.get(version, CONFIG), vocab=256)
    return asyncio.run(engine_of({n: w * np.float32(0.4) for n, w in weights(config).items()}, Counting(), slots=2))


@pytest.fixture(scope="module")
def shared() -> Engine:
    return engine()


@pytest.fixture
def chats(shared: Engine) -> Any:
    service = ChatService(shared, 1)
    yield service
    for session in service.sessions:
        session.close()


def ask(chats: ChatService, *texts: str, **options: Any) -> tuple[str, int, dict[str, Any]]:
    """(answer, tokens that went through the model, usage)."""
    messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]
    device: Any = chats.engine.device
    before = device.fed
    reply = asyncio.run(chats.complete({"messages": messages, **GREEDY, **ASCII, **options}))
    return reply["choices"][0]["message"]["content"], device.fed - before, reply["usage"]


def afresh(chats: ChatService, *texts: str, **options: Any) -> str:
    """The answer of somebody who has never read anything."""
    with_nothing = ChatService.__new__(ChatService)
    with_nothing.__dict__ |= chats.__dict__
    with_nothing.vault = MemoryVault(chats.engine)
    with_nothing.cache = type(chats.cache)(with_nothing.vault, "another")
    chats.sessions[0].reset()
    said = ask(with_nothing, *texts, **options)
    assert said[2]["prompt_tokens_details"]["cached_tokens"] == 0
    chats.sessions[0].reset()
    return said[0]


def cached(usage: dict[str, Any]) -> int:
    found: int = usage["prompt_tokens_details"]["cached_tokens"]
    return found


def test_an_answer_again_reads_nothing(chats: ChatService) -> None:
    first, fed, usage = ask(chats, "one two three")
    assert (cached(usage), fed) == (0, 13 + 5)  # the last token of an answer is not fed
    again, fed, usage = ask(chats, "one two three")
    assert (again, cached(usage), usage["prompt_tokens"], fed) == (first, 13, 13, 5)
    assert usage["total_tokens"] == 19


def test_going_on_editing_and_branching_read_only_what_is_new(chats: ChatService) -> None:
    one, _, _ = ask(chats, "one")
    two, fed, usage = ask(chats, "one", one, "two")
    assert (cached(usage), fed) == (3 + 5, 1 + 3 + 5)
    _, fed, usage = ask(chats, "one", one, "two", two, "three")
    assert cached(usage) == 3 + 6 + 3 + 5
    edited, fed, usage = ask(chats, "one", one, "other")  # goes back two turns
    assert (cached(usage), fed) == (3 + 5, 1 + 5 + 5)
    branch, fed, usage = ask(chats, "one", one, "two")  # and to the other branch again
    assert (branch, cached(usage), fed) == (two, 3 + 6 + 3, 5)
    assert edited == afresh(chats, "one", one, "other")
    assert two == afresh(chats, "one", one, "two")


def test_an_answer_that_was_cut_off_goes_on_as_if_it_had_not_been(chats: ChatService) -> None:
    whole, _, _ = ask(chats, "Count", max_tokens=12)
    part, _, _ = ask(chats, "Count", max_tokens=5)
    rest, fed, usage = ask(chats, "Count", part, max_tokens=7, **{"continue": True})
    assert part + rest == whole
    assert (cached(usage), fed) == (5 + 4, 1 + 6)  # the last token of the part had not entered the state
    assert cached(ask(chats, "Count", part + "?", **{"continue": True})[2]) == 5 + 5


def test_a_long_beginning_is_shared_by_conversations(chats: ChatService) -> None:
    system = {"role": "system", "content": "s" * 40}
    for text, expected in (("a", 0), ("b", 40)):
        request = {"messages": [system, {"role": "user", "content": text}], **GREEDY, "max_tokens": 1}
        assert cached(asyncio.run(chats.complete(request))["usage"]) == expected


def test_probabilities_may_be_asked_for_of_an_answer_that_is_kept(chats: ChatService) -> None:
    plain, _, _ = ask(chats, "hello", temperature=1.0, seed=3)
    request = {"messages": [{"role": "user", "content": "hello"}], **GREEDY, **ASCII, "temperature": 1.0, "seed": 3}
    reply = asyncio.run(chats.complete({**request, "logprobs": True, "top_logprobs": 3}))
    [choice] = reply["choices"]
    assert (choice["message"]["content"], cached(reply["usage"])) == (plain, 5)
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == plain


def test_states_of_different_starts_are_kept_apart(chats: ChatService) -> None:
    kind = State.zero(decode_state(encode_state(asyncio.run(chats.sessions[0].state()))).kind)
    wkv = np.random.default_rng(0).standard_normal((2, 5, 4, 4)).astype("f4")
    start, other = (replace(kind.with_arrays(wkv=wkv * k), tokens=None) for k in (np.float32(1e3), np.float32(-3)))
    name = chats.add_start(start)
    assert name == chats.add_start(start) != chats.add_start(other)
    plain, _, _ = ask(chats, "hello")
    tuned, _, usage = ask(chats, "hello", state=name)
    assert (tuned != plain, cached(usage)) == (True, 0)
    assert ask(chats, "hello", state=name) == (tuned, 5, usage | {"prompt_tokens_details": {"cached_tokens": 5}})
    assert ask(chats, "hello")[0] == plain
    chats.engine.set_start(start)  # for everybody: the same answers, known by another name
    try:
        chats.sessions[0].reset()
        said, _, usage = ask(chats, "hello")
        assert (said, cached(usage)) == (tuned, 0)
    finally:
        chats.engine.set_start(None)
        chats.sessions[0].reset()
    assert ask(chats, "hello")[0] == plain
    with pytest.raises(RwkvError) as e:
        ask(chats, "hello", state="start-0")
    assert (e.value.code, e.value.details) == ("unknown-state", {"name": "start-0"})


def test_a_state_after_messages_is_that_of_their_tokens(chats: ChatService) -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": " and"}]
    ask(chats, "one")

    async def run() -> tuple[State, State]:
        state = await chats.state_after({"messages": messages, "template": "plain"})
        session = chats.engine.session()
        await session.prefill([*b"one"])
        await session.prefill([*b" and"])
        expected = await session.state()
        session.close()
        return state, expected

    state, expected = asyncio.run(run())
    assert (state.tokens, state.tensors) == (tuple(b"one and"), expected.tensors)
    assert state.notes["messages"] == '[{"role": "user", "content": "one"}, {"role": "assistant", "content": " and"}]'
    name = chats.add_start(decode_state(encode_state(state)))
    said, _, _ = ask(chats, "two", state=name)
    assert said == ask(chats, "one", " and", "two")[0]


def test_memory_has_a_budget_and_the_least_recently_used_leave(shared: Engine) -> None:
    chats = ChatService(shared, 1)
    chats.vault.budget = 3 * 4 * 2 * 20 * (4 + 2)  # type: ignore[attr-defined]
    try:
        for text in ("aaa", "bbb", "aaa", "ccc"):
            ask(chats, text, max_tokens=1)  # one token: no state after the answer
        assert chats.info()["states"] == {"memory": 2880, "stored": 0, "count": 3, "budget": {"memory": 2880, "stored": 0}}
        ask(chats, "ddd", max_tokens=1)
        assert [cached(ask(chats, text, max_tokens=1)[2]) for text in ("aaa", "ccc", "ddd", "bbb")] == [3, 3, 3, 0]
        assert chats.info()["context"] == {"tokens": 3, "slots": [3]}
    finally:
        chats.sessions[0].close()


def test_what_cannot_be_kept_fails_no_answer(chats: ChatService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RwkvError("internal", reason="no room")

    expected, _, _ = ask(chats, "hello")
    monkeypatch.setattr(chats.vault, "keep", broken)
    assert ask(chats, "hello!")[0] == afresh(chats, "hello!")
    assert ask(chats, "hello")[0] == expected


@pytest.mark.parametrize("version", ["4", "5.2", "6"])
def test_older_versions_keep_their_states_too(version: str) -> None:
    chats = ChatService(engine(version), 1)
    one, _, _ = ask(chats, "one")
    ask(chats, "one", one, "two")
    assert ask(chats, "one")[:2] == (one, 5)


def test_candidates_as_bytes() -> None:
    given = Candidates([7, 3, 1], [1.5, -2.0, float("-inf")], 3.25)
    ids, logits, total = decode_candidates(encode_candidates(given))
    assert (list(ids), list(logits), total) == ([7, 3, 1], [1.5, -2.0, float("-inf")], 3.25)
