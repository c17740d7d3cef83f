"""OpenAI's API: requests, choices, calls, turns and errors, without a server. With one: test_serve_api.py; in the page: tests/browser/test_openai.py."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import engine_of
from tiny_model import CONFIG, weights

from py_rwkv.chat.api import Api
from py_rwkv.chat.choices import Turns, together
from py_rwkv.chat.errors import CODES, STATUS, error_object
from py_rwkv.chat.fields import FIELDS
from py_rwkv.chat.openai import parse_choices, parse_request
from py_rwkv.chat.prefix_cache import MemoryVault
from py_rwkv.chat.service import ChatService
from py_rwkv.chat.tools import CALL, END, Calls, call_text, head, unlike
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError, texts
from py_rwkv.runtime.sampling import Candidates, Sampler, Sampling
from py_rwkv.structured import regex

HI = [{"role": "user", "content": "hi"}]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "a + b",
        "parameters": {
            "type": "object",
            "properties": {"a": {"enum": [1, 2, 3]}, "b": {"enum": ["}", '"', "]}</tool_call>"]}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}
NOOP = {"type": "function", "function": {"name": "noop"}}


@pytest.fixture(scope="module")
def chats() -> ChatService:
    config = replace(CONFIG, vocab=256)
    engine = asyncio.run(engine_of({n: w * np.float32(0.4) for n, w in weights(config).items()}, NumpyDevice(), slots=3))
    return ChatService(engine)


def ask(chats: ChatService, **options: Any) -> dict[str, Any]:
    request = {"messages": HI, "max_tokens": 200, "template": "plain", "seed": 3, **options}
    return asyncio.run(chats.complete(request))


def refused(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(RwkvError) as e:
        parse_choices(request, {"template": "world"})
    status, said = error_object(e.value)
    return status, said["error"]


def test_choices_of_several_prompts_have_seeds_of_their_own() -> None:
    choices = parse_choices({"prompt": ["a", "b"], "n": 2, "seed": 7, "logprobs": 3, "user": "me", "metadata": {}}, {})
    assert [(c.index, c.prompt, c.pieces, c.sampling.seed) for c in choices] == [
        (0, 0, ("a",), 7),
        (1, 0, ("a",), 8),
        (2, 1, ("b",), 9),
        (3, 1, ("b",), 10),
    ]
    assert (choices[0].logprobs, choices[0].legacy) == (3, True)
    assert [c.pieces for c in parse_choices({"prompt": [[1, 2], [3]]}, {})] == [((1, 2),), ((3,),)]
    assert parse_request({"prompt": [1, 2]}, {}).pieces == ((1, 2),)
    assert parse_request({"messages": HI, "seed": None}, {}).sampling.seed is None


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"functions": []}, "functions"),
        ({"echo": True}, "echo"),
        ({"n": 0}, "n"),
        ({"stream_options": {"usage": True}}, "stream_options.usage"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"65536": 1}}, "logit_bias.65536"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
        ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}, "response_format.json_schema"),
        ({"response_format": {"type": "regex", "pattern": "("}}, "response_format.pattern"),
        ({"response_format": {"type": "choice", "choices": []}}, "response_format.choices"),
        ({"tools": {}}, "tools"),
        ({"tools": [NOOP] * 129}, "tools"),
        ({"tools": [{"type": "file_search"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "x" * 65}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "x", "returns": 3}}]}, "tools[0].function.returns"),
        ({"tools": [{"type": "function", "function": {"name": "x", "parameters": []}}]}, "tools[0].function.parameters"),
        (
            {"tools": [{"type": "function", "function": {"name": "x", "strict": True, "parameters": {"properties": {"a": {"not": {}}}}}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tools"),
        ({"tools": [NOOP], "tool_choice": "some"}, "tool_choice"),
        ({"tools": [NOOP], "tool_choice": {"type": "function", "function": {"name": "add"}}}, "tool_choice.function.name"),
        ({"messages": [*HI, {"role": "assistant", "tool_calls": [{}]}, *HI]}, "messages[1].tool_calls[0]"),
        ({"messages": [*HI, {"role": "tool", "content": None}]}, "messages[1].content"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    status, error = refused({"messages": HI} | change)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"} and error["message"]


def test_prompts_that_are_none() -> None:
    for prompt, param in (([], None), ("", None), ([""], None), (["a", 3], "prompt[1]"), (["a"] * 65, "prompt"), ({}, "prompt")):
        status, error = refused({"prompt": prompt})
        assert (status, error["param"]) == (400, param)
    assert refused({"prompt": "a", "tools": [NOOP]})[1]["param"] == "tools"
    assert refused({"prompt": "a", "echo": True, "logprobs": 1})[1]["param"] == "echo"
    assert refused({"prompt": "a", "n": 2, "best_of": 3})[1]["param"] == "best_of"


def test_every_code_has_a_text_and_a_status() -> None:
    assert set(STATUS) | set(CODES) <= set(texts())
    assert error_object(RwkvError("internal", reason="x"))[0] == 500


def test_efforts_are_the_template_s_modes_of_thinking() -> None:
    for effort, template, cue in (("low", "g1", " <think"), ("high", "g1", " <think"), ("minimal", "g1", ""), ("high", "world", "")):
        assert parse_request({"messages": HI, "template": template, "reasoning_effort": effort}, {}).before == cue


def test_tools_stand_in_the_system_text_and_calls_in_the_history() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": "}"}'}}
    result = [{"role": "tool", "tool_call_id": "1", "content": "2"}, {"role": "tool", "tool_call_id": "2", "content": "3"}]
    turns = [{"role": "system", "content": "Be brief."}, *HI, {"role": "assistant", "content": None, "tool_calls": [call, call]}, *result]
    request = parse_request({"messages": turns, "tools": [ADD, NOOP]}, {"template": "world"})
    system, question, answer, results = request.pieces
    lines = str(system).strip().split("\n")
    assert lines[0] == "System: Be brief." and lines[1].startswith("You can call these functions.")
    assert [json.loads(line)["name"] for line in lines[2:]] == ["add", "noop"]
    made = f'{CALL}{{"name":"add","arguments":{call["function"]["arguments"]}}}{END}'  # type: ignore[index]
    assert (question, answer) == ("User: hi\n\nAssistant:", f" {made}\n{made}\n\n")
    assert results == "User: <tool_response>2</tool_response>\n<tool_response>3</tool_response>\n\nAssistant:"
    assert parse_request({"messages": HI, "tools": [ADD], "tool_choice": "none"}, {"template": "world"}).grammar is None


def test_the_grammar_of_an_answer_that_may_call() -> None:
    def grammar(**options: Any) -> Any:
        return parse_request({"messages": HI, "tools": [ADD, NOOP], **options}, {}).grammar

    one, other = head("add") + '{"a":1,"b":"]}"}' + "}" + END, head("noop") + "{}}" + END
    wrong = head("add") + '{"a":9,"b":"}"}' + "}" + END
    one = one.replace("]}", "}", 1)
    auto, must = grammar(), grammar(tool_choice="required")
    assert [auto.accepts(t) for t in (one, other, f"{one}\n{other}", "Hello <tool_call>", "<tool", "", wrong, one + "!")] == [True] * 6 + [
        False
    ] * 2
    assert [must.accepts(t) for t in (one, f"{one}\n{other}", "Hello", "")] == [True, True, False, False]
    single = grammar(tool_choice="required", parallel_tool_calls=False)
    assert (single.accepts(one), single.accepts(f"{one}\n{other}")) == (True, False)
    named = grammar(tool_choice={"type": "function", "function": {"name": "noop"}})
    assert (named.accepts(other), named.accepts(one)) == (True, False)
    assert grammar() is auto  # it remembers its masks
    shaped = grammar(response_format={"type": "choice", "choices": ["yes", "no"]})
    assert [shaped.accepts(t) for t in (one, "yes", "maybe")] == [True, True, False]


@given(st.text(alphabet="<tol_ca>x ", max_size=14))
def test_free_text_does_not_begin_like_a_call(text: str) -> None:
    assert UNLIKE.accepts(text) == (not text.startswith((CALL, " ")))


UNLIKE = regex(unlike(CALL))
STRINGS = st.text(alphabet='ab{}[]"\\</tool_call> \n', max_size=12)


@given(
    st.lists(
        st.dictionaries(STRINGS, st.recursive(STRINGS | st.integers(), lambda x: st.lists(x, max_size=2), max_leaves=3), max_size=2),
        max_size=3,
    ),
    st.data(),
)
def test_calls_are_read_however_they_are_cut(arguments: list[Any], data: st.DataObject) -> None:
    calls = [{"function": {"name": f"f{i}", "arguments": json.dumps(a)}} for i, a in enumerate(arguments)]
    text = call_text("", "", calls) if calls else "No <tool_call> here"
    reader, said, found = Calls(), "", list[list[str]]()
    while text or said is None:
        size = data.draw(st.integers(1, 20))
        piece, text = text[:size], text[size:]
        for delta in _fed(reader, piece, not text):
            if isinstance(delta, str):
                said += delta
            elif "id" in delta:
                found.append([delta["function"]["name"], delta["function"]["arguments"]])
            else:
                found[delta["index"]][1] += delta["function"]["arguments"]
    assert found == [[f"f{i}", json.dumps(a)] for i, a in enumerate(arguments)]
    assert said == ("" if calls else "No <tool_call> here")


def _fed(reader: Calls, piece: str, last: bool) -> list[Any]:
    said, deltas = reader.feed(piece, last)
    return [said, *deltas]


def test_a_model_that_knows_nothing_still_calls(chats: ChatService) -> None:
    for seed in range(4):
        reply = ask(chats, tools=[ADD], tool_choice="required", seed=seed, temperature=1.0, n=2, parallel_tool_calls=False)
        for choice in reply["choices"]:
            [call] = choice["message"]["tool_calls"]
            assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
            assert json.loads(call["function"]["arguments"]).keys() == {"a", "b"}
    assert ask(chats, response_format={"type": "choice", "choices": ["yes", "no"]})["choices"][0]["message"]["content"] in ("yes", "no")
    cut = ask(chats, tools=[ADD], tool_choice="required", max_tokens=3)["choices"][0]
    assert (cut["finish_reason"], cut["message"].get("tool_calls")) == ("length", None)


def test_a_bias_is_added_to_the_logits_of_all_tokens(rng: np.random.Generator) -> None:
    logits = (rng.standard_normal(1000) * 3).astype("f4")
    worst = int(logits.argmin())
    sampling = Sampling.from_request({}, {"top_p": 1, "seed": 1, "logit_bias": {str(worst): 40, "5": -2.5, "6": -100, "7": 0}})
    assert (sampling.ban, dict(sampling.logit_bias), sampling.everything) == ((6,), {worst: 40.0, 5: -2.5}, True)
    found = Candidates.of_logits(logits.tobytes(), [worst], frozenset(sampling.ban))
    order = [int(i) for i in np.argsort(-logits, kind="stable") if i != 6]
    assert list(found.ids) == [*order[:256], worst]
    assert found.logsumexp == pytest.approx(math.log(np.exp(logits.astype("f8")).sum()), abs=1e-5)
    assert Sampler(sampling).sample(found).token == worst
    fair = Sampling.from_request({}, {"top_p": 1, "logit_bias": {str(order[0]): -3, str(order[1]): 2}})
    biased = logits.astype("f8")
    biased[order[0]] -= 3
    biased[order[1]] += 2
    expected = np.exp(biased) / np.exp(biased).sum()
    best = Candidates.of_logits(logits.tobytes(), order[:2])
    drawn = [Sampler(replace(fair, seed=i)).sample(best).token for i in range(2000)]
    for token in (order[0], order[1], order[2]):
        assert drawn.count(token) / 2000 == pytest.approx(expected[token], abs=0.04)
    assert not Sampling.from_request({}, {"logit_bias": {"5": -3}}).everything


def test_turns_are_shared_among_requests() -> None:
    async def run() -> list[str]:
        turns, order = Turns(2), list[str]()

        async def work(owner: str) -> None:
            async with turns.turn(owner):
                order.append(owner)
                for _ in range(3):
                    await asyncio.sleep(0)

        many = [asyncio.ensure_future(work("many")) for _ in range(6)]
        await asyncio.sleep(0)
        few = [asyncio.ensure_future(work("few")) for _ in range(2)]
        gone = asyncio.ensure_future(work("gone"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(*many, *few)
        async with turns.turn("last"):
            assert turns._under_way.total() == 1
        return order

    order = asyncio.run(run())
    assert sorted(order) == ["few"] * 2 + ["many"] * 6 and set(order[:4]) == {"many", "few"} and order.index("few") == 2


def test_a_failure_ends_what_runs_beside_it() -> None:
    ended = list[int]()

    def counting(i: int) -> Any:
        async def events(cancel: Any) -> AsyncIterator[int]:
            n = 0
            while not cancel():
                await asyncio.sleep(0)
                n += 1
                if i == 1 and n == 3:
                    raise RwkvError("no-candidates")
                yield n
            ended.append(i)

        return events

    async def run() -> None:
        async for _ in together([counting(i) for i in range(3)], lambda: False):
            pass

    async def leave() -> None:
        events: Any = together([counting(0), counting(2)], lambda: False)
        await anext(events)
        await events.aclose()

    with pytest.raises(RwkvError, match="No token"):
        asyncio.run(run())
    assert sorted(ended) == [0, 2]
    asyncio.run(leave())
    assert sorted(ended) == [0, 0, 2, 2]


def test_an_answer_that_is_stopped_ends_all_its_choices(chats: ChatService) -> None:
    async def run() -> list[dict[str, Any]]:
        chunks = list[dict[str, Any]]()
        request = {"messages": HI, "template": "plain", "n": 2, "stream": True, "ban": [0], "max_tokens": 9999}
        async for chunk in chats.stream(request, lambda: len(chunks) > 10):
            chunks.append(chunk)
        return chunks

    chunks = asyncio.run(run())
    ends = [c["choices"][0] for c in chunks if c["choices"][0]["finish_reason"]]
    assert [e["finish_reason"] for e in ends] == ["stop", "stop"] and {e["index"] for e in ends} == {0, 1}
    assert chunks[-1]["cancelled"] and "usage" not in chunks[-3] and chunks[-1]["usage"]["prompt_tokens"] == 2


def test_a_fork_goes_on_where_the_messages_end(chats: ChatService) -> None:
    turns = [*HI, {"role": "assistant", "content": "yo"}]
    name = chats.add_start(asyncio.run(chats.state_after({"messages": turns, "template": "plain"})))
    more = [{"role": "user", "content": "and?"}]
    forked, whole = ask(chats, messages=more, state=name, max_tokens=20), ask(chats, messages=[*turns, *more], max_tokens=20)
    assert forked["choices"] == whole["choices"]
    assert (forked["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]) == (4, 8)


def test_what_is_kept_stays_in_its_budget(chats: ChatService) -> None:
    size = sum(map(len, asyncio.run(chats.engine.read_state(0)).values()))
    for states in (0, 2):
        service = ChatService.__new__(ChatService)
        service.__dict__ |= chats.__dict__
        service.vault = MemoryVault(chats.engine, states * size)
        service.cache = type(chats.cache)(service.vault, "another")
        for text in "abc":
            asyncio.run(service.complete({"prompt": text * 40, "max_tokens": 2, "ban": [0], "n": 2}))
        assert service.vault.usage()["count"] == states and service.vault.usage()["memory"] == states * size


def test_endpoints_answer_without_a_transport(chats: ChatService) -> None:
    api = Api(chats, ("models/tiny.pth",), 5)

    def respond(method: str, path: str, body: Any = None) -> Any:
        return asyncio.run(api.respond(method, path, b"" if body is None else json.dumps(body).encode()))

    assert respond("GET", "/v1/models").body == {
        "object": "list",
        "data": [{"id": chats.name, "object": "model", "created": 5, "owned_by": "rwkv"}],
    }
    assert respond("GET", "/v1/models/models/tiny.pth").status == 200
    assert (
        respond("POST", "/v1/completions/", {"prompt": "a", "max_tokens": 1, "model": chats.name.upper()}).body["object"]
        == "text_completion"
    )
    for method, path, body, status, code in (
        ("POST", "/v1/completions", {"messages": HI}, 400, "unknown_parameter"),
        ("POST", "/v1/completions", {}, 400, "invalid_value"),
        ("POST", "/v1/completions", {"prompt": "a", "model": "b"}, 404, "model_not_found"),
        ("DELETE", "/v1/models/x", None, 405, "wrong-method"),
        ("GET", "/v1", None, 404, "unknown-endpoint"),
    ):
        response = respond(method, path, body)
        assert (response.status, response.body["error"]["code"]) == (status, code)


def test_the_table_of_fields_is_whole() -> None:
    assert set(Sampling.__dataclass_fields__) <= set(FIELDS)
    assert all(field.endpoint in ("", "chat", "completions") and field.what.endswith(".") for field in FIELDS.values())
