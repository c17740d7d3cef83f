"""`py-rwkv serve --api` with the official `openai` client: a tiny model on numpy, behind a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import openai
import pytest
from models import engine_of
from pydantic import BaseModel
from tiny_model import CONFIG, weights

from build_scripts import make_api_docs
from py_rwkv.chat.api import Api
from py_rwkv.chat.service import ChatService
from py_rwkv.cli import main, parser
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.server import app as http

HI: Any = [{"role": "user", "content": "Hello"}]
ASCII = {"ban": [0, *range(129, 256)], "template": "plain"}  # else a random model writes half characters, and ends when it likes
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Lima"]}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


class City(BaseModel):
    name: Literal["Oslo", "Lima"]
    big: bool


class Counting(NumpyDevice):
    steps = 0

    async def run(self, program: str, step: Any, *rest: Any, **more: Any) -> bytes:
        self.steps += 1
        return await super().run(program, step, *rest, **more)


@pytest.fixture(scope="module")
def chats() -> ChatService:
    config = replace(CONFIG, vocab=256)
    engine = asyncio.run(engine_of({n: w * np.float32(0.4) for n, w in weights(config).items()}, Counting(), slots=4))
    return ChatService(engine)


@pytest.fixture(scope="module")
def url(chats: ChatService) -> Iterator[str]:
    """The address of a server in a thread of its own."""
    api = Api(chats, ("tiny", "demo"), 1234567890)
    with http.bind(port=0) as socket:
        server = http.server(http.app(api, origins=["https://friend.example"]))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[socket])))
        thread.start()
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0, timeout=30) as client:
        yield client


def ask(client: openai.OpenAI, messages: Any = HI, ours: dict[str, Any] | None = None, **options: Any) -> Any:
    options = {"model": "tiny", "max_tokens": 8, "seed": 1, "temperature": 1.0, **options}
    return client.chat.completions.create(messages=messages, extra_body=ASCII | (ours or {}), **options)


def test_models(client: openai.OpenAI, chats: ChatService) -> None:
    [model] = client.models.list()
    assert (model.id, model.object, model.created) == (chats.name, "model", 1234567890)
    assert client.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError) as e:
        client.models.retrieve("gpt-5")
    assert (e.value.code, e.value.param) == ("model_not_found", "model")


def test_an_answer_and_the_same_streamed(client: openai.OpenAI) -> None:
    whole = ask(client)
    assert (whole.choices[0].finish_reason, whole.usage.prompt_tokens, whole.usage.completion_tokens) == ("length", 5, 8)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1) and chunks[-2].choices[0].finish_reason == "length"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens, chunks[-1].usage.prompt_tokens_details.cached_tokens) == ([], 13, 5)
    assert [c.choices for c in ask(client, stream=True)][-1]  # nobody asked for usage: no chunk of its own


def test_choices_advance_together_and_are_those_of_their_seeds(client: openai.OpenAI, chats: ChatService) -> None:
    device: Any = chats.engine.device
    before = device.steps
    reply = ask(client, [{"role": "user", "content": "A prompt of its own"}], n=5, max_tokens=20)
    assert device.steps - before < 2 * 20 + 15  # not 5 · 20: three at a time, then two
    assert [c.index for c in reply.choices] == list(range(5))
    texts = [c.message.content for c in reply.choices]
    assert len(set(texts)) > 3 and (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (19, 100)
    assert reply.usage.prompt_tokens_details.cached_tokens == 0
    alone = [ask(client, [{"role": "user", "content": "A prompt of its own"}], seed=1 + i, max_tokens=20) for i in range(5)]
    assert [a.choices[0].message.content for a in alone] == texts
    streamed = ["", "", ""]
    for chunk in ask(client, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == [c.message.content for c in ask(client, n=3).choices]


def test_completions_of_texts_and_tokens(client: openai.OpenAI) -> None:
    more: dict[str, Any] = {"model": "tiny", "max_tokens": 5, "seed": 1, "temperature": 1.0, "extra_body": ASCII}
    one = client.completions.create(prompt="ab", **more)
    assert (one.object, one.usage and one.usage.prompt_tokens) == ("text_completion", 2)
    tokens = client.completions.create(prompt=[97, 98], **more)
    assert tokens.choices[0].text == one.choices[0].text
    both = client.completions.create(prompt=["ab", "cd"], n=2, echo=True, **more)
    assert [c.text[:2] for c in both.choices] == ["ab", "ab", "cd", "cd"] and both.usage and both.usage.prompt_tokens == 4
    assert both.choices[0].text == "ab" + one.choices[0].text
    told = client.completions.create(prompt="ab", logprobs=2, **more).choices[0].logprobs
    assert (
        told and told.tokens and told.top_logprobs and told.text_offset == [0, 1, 2, 3, 4] and "".join(told.tokens) == one.choices[0].text
    )
    assert all(2 <= len(top) <= 3 and token in top for token, top in zip(told.tokens, told.top_logprobs, strict=True))


def test_tools_and_parsed_answers(client: openai.OpenAI) -> None:
    """Also through the client's own helpers, which put deltas together and make schemas of Python types."""
    wanted: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 200}
    [choice] = ask(client, **wanted).choices
    [call] = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name, choice.message.content) == ("tool_calls", "weather", None)
    arguments = json.loads(call.function.arguments)
    assert arguments["city"] in ("Oslo", "Lima") and arguments["days"] in (1, 2, 3) and len(arguments) == 2
    with client.chat.completions.stream(model="tiny", messages=HI, seed=1, temperature=1, extra_body=ASCII, **wanted) as stream:
        [streamed] = stream.get_final_completion().choices
    assert [c.function.arguments for c in streamed.message.tool_calls or ()] == [call.function.arguments]
    history = [*HI, choice.message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "Rain"}]
    assert ask(client, history, tools=[WEATHER], tool_choice="none").choices[0].message.tool_calls is None
    parsed = client.chat.completions.parse(
        model="tiny", messages=HI, response_format=City, seed=2, temperature=1, max_tokens=200, extra_body=ASCII
    )
    found = parsed.choices[0].message.parsed
    assert found and found.name in ("Oslo", "Lima") and isinstance(found.big, bool)
    with pytest.raises(openai.BadRequestError, match="not") as e:
        ask(client, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}})
    assert (e.value.code, e.value.param) == ("bad-schema", "response_format.json_schema")


def test_logprobs_and_logit_bias(client: openai.OpenAI) -> None:
    reply = ask(client, logprobs=True, top_logprobs=3)
    content = reply.choices[0].logprobs.content
    assert "".join(t.token for t in content) == reply.choices[0].message.content and all(len(t.top_logprobs) == 3 for t in content)
    assert ask(client, logit_bias={"120": 100}).choices[0].message.content == "x" * 8
    first = ask(client, temperature=0).choices[0].message.content
    banned = ask(client, temperature=0, logit_bias={str(ord(first[0])): -100}).choices[0].message.content
    assert first[0] not in banned


def test_a_stream_that_is_left_frees_its_place(client: openai.OpenAI, chats: ChatService) -> None:
    streams = [ask(client, stream=True, max_tokens=100_000, seed=i) for i in range(3)]
    for stream in streams:
        next(iter(stream))
    for stream in streams:
        stream.close()
    assert ask(client).usage.completion_tokens == 8  # waits for a place
    device: Any = chats.engine.device
    deadline, before = time.monotonic() + 20, -1
    while device.steps != before:  # nothing is under way any more
        assert time.monotonic() < deadline
        before = device.steps
        time.sleep(0.1)


def test_requests_at_the_same_time_share_steps(client: openai.OpenAI, url: str, chats: ChatService) -> None:
    async def several() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as many:
            return await asyncio.gather(*(ask(many, seed=i, max_tokens=40) for i in range(6)))  # type: ignore[arg-type]

    device: Any = chats.engine.device
    before = device.steps
    answers = asyncio.run(several())
    assert device.steps - before < 6 * 40 * 2 / 3
    assert [a.choices[0].message.content for a in answers] == [
        ask(client, seed=i, max_tokens=40).choices[0].message.content for i in range(6)
    ]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 11}, "temperature", "invalid_value"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_value"),
        ({"ours": {"temprature": 1}}, "temprature", "unknown_parameter"),
        ({"ours": {"prompt": "x"}}, "prompt", "unknown_parameter"),
        ({"n": 9}, "n", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "invalid_value"),
        ({"ours": {"max_prompt_tokens": 2}}, "messages", "context_length_exceeded"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_is_wrong_is_named(client: openai.OpenAI, change: dict[str, Any], param: str, code: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as e:
            ask(client, **change, stream=stream)
        assert (e.value.param, e.value.code, e.value.type) == (param, code, "invalid_request_error")
        assert param.split(".")[0] in str(e.value) or code == "context_length_exceeded"


def test_the_page_about_it_is_current_and_its_examples_run(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = make_api_docs.PAGE.read_text("utf-8")
    assert make_api_docs.page(page) == page, "run `python build_scripts/make_api_docs.py`"
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.S | re.M))
    assert examples.count("client.chat.completions.create") >= 3
    exec(compile(examples.replace("http://127.0.0.1:8000/v1", url), "docs/api.md", "exec"), {})
    assert [line[0] for line in capsys.readouterr().out.splitlines() if line[:2] in ("0 ", "1 ")] == ["0", "1"]
    commands = re.findall(r"^    py-rwkv (.*)$", page, re.M)
    assert commands and all(parser().parse_args(command.split()).model == "demo" for command in commands)


def raw(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply), dict(reply.headers)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)["error"], dict(e.headers)


def test_strangers_are_refused(url: str) -> None:
    chat, kind = url + "/chat/completions", {"Content_Type": "application/json"}
    cases = [
        (raw(chat, b"{", **kind), 400, "bad-json"),
        (raw(chat, b"[" * 100_000, **kind), 400, "bad-json"),
        (raw(chat, b"3", **kind), 400, "invalid_value"),
        (raw(chat, b"{}", Content_Type="text/plain"), 415, "not-json"),
        (raw(chat, b" " * ((32 << 20) + 1), **kind), 413, "too-long"),
        (raw(chat), 405, "wrong-method"),
        (raw(url + "/embeddings", b"{}", **kind), 404, "unknown-endpoint"),
        (raw(url + "/models", Host="evil.example:80"), 403, "refused-origin"),
        (raw(url + "/models", Host=""), 403, "refused-origin"),
        (raw(url + "/models", Origin="https://evil.example"), 403, "refused-origin"),
    ]
    assert [(status, error["code"]) for (status, error, _), _, _ in cases] == [(status, code) for _, status, code in cases]
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"):
        assert raw(url + "/models", Host=host)[0] == 200
    status, _, headers = raw(url + "/models", Origin="https://friend.example")
    assert (status, headers["access-control-allow-origin"]) == (200, "https://friend.example")


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It opens the model, says where it is, and serves until somebody interrupts."""
    served: list[str] = []

    class Server:
        async def serve(self, sockets: Any) -> None:
            served.append(sockets[0].getsockname()[0])

    monkeypatch.setattr(http, "server", lambda app: Server())
    assert main(["serve", "--api", "demo", "--device", "cpu", "--port", "0", "--parallel", "2"]) == 0
    assert served == ["127.0.0.1"] and capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert main(["serve", "--api", "demo", "--parallel", "0"]) == 1
    assert "--parallel must be" in capsys.readouterr().err
    with pytest.raises(RwkvError) as e, http.bind(port=0) as taken:
        http.bind(port=taken.getsockname()[1])
    assert e.value.code == "port-busy"
