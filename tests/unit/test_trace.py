"""What tokens do to the state, and what is said of them: traces on tiny models, and logprobs."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import engine_of
from tiny_model import CONFIG, OLDER, weights
from toy_session import ScriptSession, ToySession

from py_rwkv.chat.completions import complete, stream
from py_rwkv.chat.conversation import Conversation
from py_rwkv.chat.logprobs import entropy, entry
from py_rwkv.chat.openai import parse_request
from py_rwkv.chat.service import ChatService
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import tokenizer_for

WORLD = tokenizer_for("world")
DEFAULTS = {"template": "g1", "temperature": 0, "presence_penalty": 0, "frequency_penalty": 0, "max_tokens": 60}
HI = [{"role": "user", "content": "hi"}]


def service(version: str) -> ChatService:
    config = replace({"7": CONFIG, **OLDER}[version], vocab=256)
    return ChatService(asyncio.run(engine_of({n: w * np.float32(0.3) for n, w in weights(config).items()}, NumpyDevice(), slots=2)), 1)


@pytest.mark.parametrize("version", ["7", "6", "5.0", "4"])
def test_a_trace_tells_what_every_token_changed(version: str) -> None:
    chats, seen = service(version), list[dict[str, Any]]()
    end = asyncio.run(chats.trace({"text": "Hello"}, seen.append))
    config, v4 = chats.engine.config, version == "4"

    async def states() -> list[np.ndarray]:
        session, found = chats.engine.session(), []
        for token in b"Hello":
            await session.feed([token], "none")
            state = await session.state()
            parts = ("aa", "bb") if v4 else ("wkv",)
            first, *others = (np.stack([state.array(f"blocks.{i}.{part}") for i in range(config.layers)]) for part in parts)
            found.append((first / others[0] if others else first).reshape(config.layers * config.heads, -1))
        session.close()
        return found

    s = asyncio.run(states())
    norms = [np.linalg.norm(x.astype("f8"), axis=1) for x in s]
    assert end.items() >= {"tokens": 5, "layers": config.layers, "heads": config.heads, "head_size": config.head_size}.items()
    np.testing.assert_allclose(end["norms"], norms[-1], rtol=1e-6)
    np.testing.assert_allclose(seen[0]["change"], 1, rtol=1e-6)  # out of nothing
    np.testing.assert_allclose(seen[3]["change"], np.linalg.norm(s[3] - s[2], axis=1) / norms[3], rtol=1e-4)
    logits = np.frombuffer(asyncio.run(chats.engine.logits([*b"Hello"], every=True)), "f4").reshape(5, -1).astype("f8")
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert [(t["index"], t["id"], t["text"], t["bytes"]) for t in seen[:2]] == [(0, 72, "H", [72]), (1, 101, "e", [101])]
    assert seen[0]["logprob"] is None
    np.testing.assert_allclose([t["logprob"] for t in seen[1:]], [math.log(p[i, c]) for i, c in enumerate(b"ello")], rtol=1e-5)
    np.testing.assert_allclose([t["entropy"] for t in seen], -(p * np.log(p)).sum(1), rtol=1e-5)


def test_a_trace_reads_messages_has_a_limit_and_can_be_stopped() -> None:
    chats, seen = service("7"), list[dict[str, Any]]()
    asyncio.run(chats.trace({"messages": [*HI, {"role": "assistant", "content": "Yo"}]}, seen.append))
    assert "".join(t["text"] for t in seen) == chats.render({"messages": HI})["text"] + " Yo\n\n"
    for request, cancel, code in [
        ({"text": "x" * 513}, False, "prompt-too-long"),
        ({"text": ""}, False, "empty-prompt"),
        ({"text": "x", "state": "start-1"}, False, "unknown-state"),
        ({"text": "x"}, True, "cancelled"),
    ]:
        with pytest.raises(RwkvError) as e:
            asyncio.run(chats.trace(request, seen.append, cancel=lambda c=cancel: c))  # type: ignore[misc]
        assert e.value.code == code
    asyncio.run(chats.trace({"text": "the slot is free again"}, seen.append))


def test_a_trace_of_the_last_tokens_and_of_the_first() -> None:
    chats, seen, some = service("7"), list[dict[str, Any]](), list[dict[str, Any]]()
    end = asyncio.run(chats.trace({"text": "Hello"}, seen.append))
    assert asyncio.run(chats.trace({"text": "Hello there" * 60, "until": 5, "last": 2}, some.append))["norms"] == pytest.approx(
        end["norms"]
    )
    assert [t["index"] for t in some] == [3, 4]
    for a, b in zip(some, seen[3:], strict=True):
        assert (a["logprob"], a["change"]) == (pytest.approx(b["logprob"]), pytest.approx(b["change"], rel=1e-3))
    for wrong in ({"until": 0}, {"last": "all"}):
        with pytest.raises(RwkvError, match=r"until|last"):
            asyncio.run(chats.trace({"text": "x", **wrong}, seen.append))


def test_an_answer_read_again_tells_what_its_tokens_competed_with() -> None:
    chats, seen = service("7"), list[dict[str, Any]]()
    request = {"messages": [*HI, {"role": "assistant", "content": "Yo man"}], "top_logprobs": 3}
    end = asyncio.run(chats.score(request, seen.append))
    prompt = [*chats.render({"messages": HI})["text"].encode()]
    assert end == {"prompt_tokens": len(prompt), "cached_tokens": 0, "tokens": 7}
    logits = np.frombuffer(asyncio.run(chats.engine.logits([*prompt, *b" Yo man"], every=True)), "f4").reshape(-1, 256).astype("f8")
    p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[len(prompt) - 1 : -1]
    assert [t["id"] for t in seen] == [*b" Yo man"]
    np.testing.assert_allclose([t["logprob"] for t in seen], [math.log(p[i, c]) for i, c in enumerate(b" Yo man")], rtol=1e-4)
    assert [[top["id"] for top in t["top_logprobs"]] for t in seen] == np.argsort(-p, axis=1, kind="stable")[:, :3].tolist()
    again = list[dict[str, Any]]()
    assert asyncio.run(chats.score(request, again.append))["prompt_tokens"] == len(prompt)
    assert again == seen
    for bad, cancel, code in [({"messages": HI}, False, "bad-setting"), (request, True, "cancelled")]:
        with pytest.raises(RwkvError) as e:
            asyncio.run(chats.score(bad, seen.append, cancel=lambda c=cancel: c))  # type: ignore[misc]
        assert e.value.code == code


def test_what_the_model_would_read() -> None:
    chats = service("7")
    shown = chats.render({"messages": HI, "template": "g1", "thinking": "long"})
    assert shown == {
        "text": "User: hi (think a lot)\n\nAssistant: <think",
        "pieces": ["User: hi (think a lot)\n\nAssistant:", " <think"],
        "tokens": 41,
    }
    listed = chats.templates()
    assert listed["default"] in [t["name"] for t in listed["templates"]]
    assert list(next(t for t in listed["templates"] if t["name"] == "g1")["thinking"]) == ["none", "short", "long"]


def answer(session: ToySession, **options: Any) -> dict[str, Any]:
    request = parse_request({"messages": HI, **options}, DEFAULTS)
    return asyncio.run(complete(Conversation(session), request, tokenizer=WORLD, model="toy"))


def chunks(session: ToySession, **options: Any) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        request = parse_request({"messages": HI, **options}, DEFAULTS)
        return [chunk["choices"][0] async for chunk in stream(Conversation(session), request, tokenizer=WORLD, model="toy")]

    return asyncio.run(collect())


def test_thoughts_come_apart_from_the_answer() -> None:
    script = WORLD.encode(">\nShort.\n</think>\nHi!")
    message = answer(ScriptSession(script), thinking="short")["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Hi!", "reasoning_content": "\nShort.\n"}
    deltas = [choice["delta"] for choice in chunks(ScriptSession(script), thinking="short")]
    for name, expected in (("reasoning_content", "\nShort.\n"), ("content", "Hi!")):
        assert "".join(delta.get(name, "") for delta in deltas) == expected
    assert "reasoning_content" not in answer(ScriptSession(WORLD.encode(" Hi!")))["choices"][0]["message"]
    cut = answer(ScriptSession(script), thinking="short", max_tokens=3)["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("", "length")
    thought = cut["message"]["reasoning_content"]
    rest = ScriptSession(script[3:])
    turn = {"role": "assistant", "content": "", "reasoning_content": thought}
    more = answer(rest, messages=[*HI, turn], thinking="short", **{"continue": True})["choices"][0]["message"]
    assert (thought + more["reasoning_content"], more["content"]) == ("\nShort.\n", "Hi!")


def test_logprobs_have_the_standard_shape_and_change_nothing() -> None:
    plain = answer(ToySession(), temperature=1.0, seed=7, max_tokens=8)["choices"][0]
    told = answer(ToySession(), temperature=1.0, seed=7, max_tokens=8, logprobs=True, top_logprobs=2)["choices"][0]
    assert told["message"] == plain["message"]
    assert plain["logprobs"] is None
    entries = told["logprobs"]["content"]
    assert len(entries) == 8
    for one in entries:
        assert set(one) == {"token", "bytes", "id", "logprob", "entropy", "top_logprobs"}
        assert bytes(one["bytes"]) == WORLD.token_bytes(one["id"]) == one["token"].encode()
        assert [set(top) for top in one["top_logprobs"]] == [{"token", "bytes", "id", "logprob"}] * 2
        assert one["logprob"] <= one["top_logprobs"][0]["logprob"] < 0
    streamed = chunks(ToySession(), temperature=1.0, seed=7, max_tokens=8, logprobs=True, top_logprobs=2)
    assert [one for choice in streamed for one in (choice["logprobs"] or {"content": []})["content"]] == entries
    assert answer(ToySession(), logprobs=True)["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    for change in ({"logprobs": 3}, {"logprobs": True, "top_logprobs": 21}):
        with pytest.raises(RwkvError) as e:
            answer(ToySession(), **change)
        assert e.value.code == "bad-setting"


def test_entropy_and_rows_without_a_token() -> None:
    even = Candidates([5, 6, 65535], [0.0, 0.0, 0.0], math.log(4))  # a quarter each, and a quarter of the rest
    assert entropy(even) == pytest.approx(math.log(4))
    assert entropy(Candidates([5], [0.0], 0.0)) == 0
    one = entry(WORLD, 6, -math.log(4), even, 3)
    assert [top["id"] for top in one["top_logprobs"]] == [5, 6]
    assert (one["token"], one["bytes"], one["id"]) == ("\x05", [5], 6)
