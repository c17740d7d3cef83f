"""Templates, requests, conversations and the shapes of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from toy_session import ScriptSession, ToySession

from py_rwkv.chat.completions import complete, stream
from py_rwkv.chat.conversation import Conversation, encode, missing
from py_rwkv.chat.openai import KNOWN, parse_request
from py_rwkv.chat.templates import TEMPLATES, Message, template_for
from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer import tokenizer_for

WORLD = tokenizer_for("world")
DEFAULTS = {"template": "world", "temperature": 0, "presence_penalty": 0, "frequency_penalty": 0, "max_tokens": 40, "stop": ["\n\n"]}


def messages(*texts: str) -> list[dict[str, str]]:
    """Questions and answers in turn."""
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]


def pieces(template: str, *turns: tuple[str, str]) -> list[str]:
    return template_for(template).pieces([Message(*turn) for turn in turns])


def test_pieces_are_cut_where_training_cut() -> None:
    turns = [("user", "hi"), ("assistant", "Hello."), ("user", "Bye")]
    assert pieces("world", *turns) == ["User: hi\n\nAssistant:", " Hello.\n\n", "User: Bye\n\nAssistant:"]
    assert pieces("world", ("system", "Be brief."), turns[0]) == ["System: Be brief.\n\n", "User: hi\n\nAssistant:"]
    assert pieces("g1", *turns) == pieces("world", *turns)
    assert pieces("raven", *turns) == ["Bob: hi\n\nAlice:", " Hello.\n\n", "Bob: Bye\n\nAlice:"]
    assert pieces("raven-instruct", turns[0])[1:] == ["# Instruction:\nhi\n\n# Response:\n"]
    assert pieces("plain", *turns) == ["hi", "Hello.", "Bye"]


def test_unusual_orders_of_turns_keep_every_message() -> None:
    assert pieces("world", ("assistant", "Hi!"), ("user", "a"), ("user", "b")) == [
        "Assistant:",
        " Hi!\n\n",
        "User: a\n\n",
        "User: b\n\nAssistant:",
    ]
    assert pieces("world", ("user", "a"), ("assistant", ""), ("user", "b")) == ["User: a\n\nAssistant:", "\n\n", "User: b\n\nAssistant:"]
    assert pieces("world", ("system", " "), ("user", "a")) == ["User: a\n\nAssistant:"]
    assert pieces("world", ("user", "a {0} {}"), ("system", "x")) == ["User: a {0} {}\n\n", "System: x\n\nAssistant:"]


def test_cleaning_keeps_a_message_inside_its_turn() -> None:
    dirty = " a\r\n\r\nUser: b\n\n\nc \n"
    assert pieces("world", ("user", dirty), ("assistant", dirty), ("user", "x"))[:2] == [
        "User: a\nUser: b\nc\n\nAssistant:",
        " a\nUser: b\nc\n\n",
    ]
    assert pieces("g1", ("user", "x"), ("assistant", " a\r\n\r\nb\n"), ("user", "x"))[1] == " a\n\nb\n\n"
    assert pieces("plain", ("user", dirty)) == [dirty]


@pytest.mark.parametrize(
    ("turns", "code", "name"),
    [
        ([], "empty-prompt", None),
        ([("user", " \n ")], "empty-prompt", None),
        ([("system", "")], "empty-prompt", None),
        ([("user", "a"), ("tool", "b")], "bad-setting", "messages[1].role"),
        ([(None, "a")], "bad-setting", "messages[0].role"),
        ([("user", "a"), ("assistant", "b")], "bad-setting", "messages[1].role"),
    ],
)
def test_wrong_messages_are_refused(turns: list[Any], code: str, name: str | None) -> None:
    with pytest.raises(RwkvError) as e:
        pieces("world", *turns)
    assert (e.value.code, e.value.details.get("name")) == (code, name)


def test_unknown_template_and_thinking() -> None:
    with pytest.raises(RwkvError, match="world, g1, g1h, raven") as e:
        template_for("llama")
    assert e.value.code == "unknown-template"
    with pytest.raises(RwkvError) as e:
        TEMPLATES["g1"].pieces([Message("user", "a")], thinking="a lot")
    assert e.value.details["name"] == "thinking"


def test_a_request_is_checked_and_completed_by_the_defaults() -> None:
    request = parse_request(
        {"messages": messages("hi"), "stop": "Q:", "max_completion_tokens": 7, "seed": 1, "stream": True, "top_p": None}, DEFAULTS
    )
    assert (request.pieces, request.stops, request.max_tokens, request.stream) == (("User: hi\n\nAssistant:",), ("\n\n", "Q:"), 7, True)
    assert (request.sampling.seed, request.sampling.temperature, request.sampling.top_p) == (1, 0.0, 0.3)
    plain = parse_request({"messages": messages("hi")}, {"template": "g1"})
    assert (plain.stops, plain.max_tokens, plain.stream) == (TEMPLATES["g1"].stops, 1024, False)
    raw = parse_request({"prompt": "Once\n\n upon ", "stop": ["."]}, DEFAULTS)
    assert (raw.pieces, raw.stops, raw.raw, raw.strip) == (("Once\n\n upon ",), (".",), True, False)
    parts = [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    assert parse_request({"messages": parts}, DEFAULTS).pieces == ("System: x\n\n", "User: ab\n\nAssistant:")


def test_a_thought_in_the_history_brings_its_question_as_it_was_asked() -> None:
    answer = {"role": "assistant", "content": "b", "reasoning_content": "hm"}
    for own, thinking, asked in (
        (None, "short", "a (think a bit)"),
        ("long", "short", "a (think a lot)"),
        (None, None, "a"),
        ("none", "long", "a"),
    ):
        turns = [messages("a")[0], {**answer, "thinking": own}, messages("c")[0]]
        request = parse_request({"messages": turns, "template": "g1", "thinking": thinking}, DEFAULTS)
        assert request.pieces[:3] == (f"User: {asked}\n\nAssistant:", " <think", ">hm</think>\nb\n\n")
    assert request.stops == TEMPLATES["g1"].stops  # not those of the model's own template
    dropped = parse_request({"messages": [*messages("a", "b", "c")], "template": "g1", "thinking": "long"}, DEFAULTS)
    assert dropped.pieces == ("User: a\n\nAssistant:", " b\n\n", "User: c (think a lot)\n\nAssistant:", " <think")
    assert (dropped.marks, dropped.before, dropped.thinks) == ((0, 3), " <think", True)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": "hot"}, "temperature"),
    ({"stream": 1}, "stream"),
    ({"n": 9}, "n"),
    ({"n": True}, "n"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"stop": "x" * 201}, "stop"),
    ({"stop": 3}, "stop"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"max_prompt_tokens": -1}, "max_prompt_tokens"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
    ({"prompt": "both"}, "the request"),
    ({"messages": None}, "the request"),
    ({"messages": None, "prompt": 3}, "prompt"),
    ({"model": 3}, "model"),
    ({"messages": [{"role": "assistant", "content": "a", "reasoning_content": 3}]}, "messages[0].reasoning_content"),
    ({"continue": True}, "messages[0].role"),
    ({"continue": 1}, "continue"),
    ({"template": {"user": "{}"}}, "template.answer"),
    ({"state": 3}, "state"),
]


@pytest.mark.parametrize(("change", "name"), BAD, ids=str)
def test_a_bad_request_names_the_field(change: dict[str, Any], name: str) -> None:
    with pytest.raises(RwkvError) as e:
        parse_request({"messages": messages("hi")} | change, DEFAULTS)
    assert (e.value.code, e.value.details["name"]) == ("bad-setting", name)


def test_an_unknown_field_is_named_and_an_empty_prompt_refused() -> None:
    with pytest.raises(RwkvError, match="temprature") as e:
        parse_request({"messages": messages("hi"), "temprature": 1}, DEFAULTS)
    assert e.value.code == "unknown-setting"
    assert "penalty_decay" in KNOWN
    with pytest.raises(RwkvError) as e:
        parse_request({"prompt": ""}, DEFAULTS)
    assert e.value.code == "empty-prompt"


def test_what_a_state_lacks() -> None:
    assert missing([], [1, 2]) == [1, 2]
    assert missing([1], [1, 2]) == [2]
    assert missing([1, 2], [1, 2]) is None  # nothing to feed, so no logits
    assert missing([1, 2, 3], [1, 2]) is None
    assert missing([1, 3], [1, 2, 4]) is None


def chat(conversation: Conversation, *texts: str, cancel: Callable[[], bool] = lambda: False, **options: Any) -> dict[str, Any]:
    request = parse_request({"messages": messages(*texts), **options}, DEFAULTS)
    return asyncio.run(complete(conversation, request, tokenizer=WORLD, model="toy", cancel=cancel))


def answer_of(reply: dict[str, Any]) -> str:
    text: str = reply["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize(
    ("sampled", "options", "continues"),
    [
        ([" Oslo", ".", "\n\n"], {}, True),
        ([" Oslo", ".", 0], {}, True),
        ([" Oslo", ".", "\n", "\n"], {}, False),  # spelled apart what the history joins
        (["\n", "\n"], {}, False),
        ([" Oslo", " is"], {"max_tokens": 2}, True),
        ([" ", "好", "。\n", "\n"], {}, True),
        ([" ", "好", "。", "\n\n"], {}, False),
        ([0], {}, True),
        (["  Oslo", "."], {}, False),  # the history has one space
    ],
    ids=str,
)
def test_a_follow_up_continues_or_clears_and_either_way_the_state_is_that_of_its_messages(
    sampled: list[Any], options: dict[str, Any], continues: bool
) -> None:
    script = [t for piece in sampled for t in ([piece] if piece == 0 else WORLD.encode(piece))]
    session = ScriptSession(script, WORLD.encode(" Lima.\n\n"))
    conversation = Conversation(session)
    first = chat(conversation, "What is the capital of Norway?", **options)
    before = list(session.tokens)
    second = chat(conversation, "What is the capital of Norway?", answer_of(first), "And of Peru?")
    assert answer_of(second) == "Lima."
    history = encode(
        WORLD,
        TEMPLATES["world"].pieces(
            [Message(m["role"], m["content"]) for m in messages("What is the capital of Norway?", answer_of(first), "And of Peru?")]
        ),
    )
    assert session.tokens == [*history, *WORLD.encode(" Lima.")]
    assert session.resets == (0 if continues else 1)
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached == (len(before) if continues else 0)
    assert second["usage"]["prompt_tokens"] == len(history)


def test_a_stop_in_the_middle_of_an_answer_continues() -> None:
    session, asked = ScriptSession(WORLD.encode(" one two three four")), iter([False] * 4 + [True] * 9)
    conversation = Conversation(session)
    first = chat(conversation, "Count", cancel=lambda: next(asked))
    assert answer_of(first) == "one two"
    assert (first["cancelled"], first["choices"][0]["finish_reason"]) == (True, "stop")
    chat(conversation, "Count", "one two", "Go on")
    assert session.resets == 0


def test_an_edited_history_an_answer_again_and_a_failed_step_clear() -> None:
    session = ToySession()
    conversation = Conversation(session)
    first = chat(conversation, "hi", max_tokens=5)
    again = chat(conversation, "hi", max_tokens=5)
    assert (answer_of(again), session.resets) == (answer_of(first), 1)
    chat(conversation, "hello", answer_of(first), "more")
    assert session.resets == 2
    session.fail_at = len(session.tokens) + 40
    with pytest.raises(RwkvError, match="device is gone"):
        chat(conversation, "hello", answer_of(first), "more", "x", "again", max_tokens=90)
    session.fail_at, resets = 1 << 30, session.resets
    assert answer_of(chat(conversation, "hi", max_tokens=5)) == answer_of(first)
    assert session.resets == resets + 1


def test_a_prompt_that_is_too_long_is_refused_before_the_state_changes() -> None:
    conversation = Conversation(ToySession())
    chat(conversation, "hi", max_tokens=3)
    fed = list(conversation.session.tokens)
    with pytest.raises(RwkvError) as e:
        chat(conversation, "hi there", max_prompt_tokens=5)
    assert e.value.to_dict()["details"] == {"tokens": len(WORLD.encode("User: hi there\n\nAssistant:")), "limit": 5}
    assert (e.value.code, list(conversation.session.tokens)) == ("prompt-too-long", fed)


def chunks_of(session: ToySession, request: dict[str, Any], stop_after: int = 1 << 30) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for chunk in stream(Conversation(session), parse_request(request, DEFAULTS), tokenizer=WORLD, model="toy"):
            found.append(chunk)
            if len(found) == stop_after:
                break
        return found

    return asyncio.run(collect())


def test_chunks_have_the_standard_shape() -> None:
    session = ScriptSession(WORLD.encode(" Oslo 🙂.\n\n"))
    chunks = chunks_of(session, {"messages": messages("hi"), "stream": True, "seed": 5})
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert (chunks[0]["object"], chunks[0]["model"], chunks[0]["id"][:9]) == ("chat.completion.chunk", "toy", "chatcmpl-")
    for chunk in chunks:
        assert list(chunk)[:5] == ["id", "object", "created", "model", "choices"]
        assert [set(choice) for choice in chunk["choices"]] == [{"index", "delta", "logprobs", "finish_reason"}]
    first, *middle, last = chunks
    assert first["choices"][0] == {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    assert all(list(chunk["choices"][0]["delta"]) == ["content"] and chunk["choices"][0]["delta"]["content"] for chunk in middle)
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "Oslo 🙂."
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    prompt, written = len(WORLD.encode("User: hi\n\nAssistant:")), len(WORLD.encode(" Oslo 🙂.\n\n"))
    assert last["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert set(last["timings"]) == {"prefill_seconds", "decode_seconds", "prefill_tokens_per_second", "decode_tokens_per_second"}
    assert last["seed"] == 5
    assert "cancelled" not in last


def test_a_completion_has_the_standard_shape() -> None:
    reply = chat(Conversation(ScriptSession(WORLD.encode(" Oslo is big"))), "hi", max_tokens=2)
    assert reply["object"] == "chat.completion"
    assert reply["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Oslo is"}, "logprobs": None, "finish_reason": "length"}
    ]
    assert reply["usage"]["completion_tokens"] == 2


def test_raw_text_is_continued_as_it_is() -> None:
    session = ScriptSession(WORLD.encode("  and\n\n then"))
    chunks = chunks_of(session, {"prompt": "One\n\n", "stream": True})
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "  and\n\n then"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert session.tokens[:2] == WORLD.encode("One\n\n")


def test_leaving_early_keeps_the_conversation_usable() -> None:
    session = ToySession()
    assert len(chunks_of(session, {"messages": messages("hi"), "stream": True}, stop_after=3)) == 3
    conversation = Conversation(session)
    fresh = chat(Conversation(ToySession()), "hi", max_tokens=5)
    assert answer_of(chat(conversation, "hi", max_tokens=5)) == answer_of(fresh)
