"""The official npm client `openai`, unmodified, on `engine.fetch`: a page with the demo model, shared by the tests of this file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route
from profiles import Profiles

from build_scripts import make_api_docs
from py_rwkv.site import vendor

START = """async () => {
    const { default: OpenAI } = await import(new URL("openai/index.mjs", location.href).href);
    const { fetch } = rwkv; // it needs no `this`
    window.OpenAI = OpenAI;
    window.client = new OpenAI({ baseURL: "https://rwkv.local/v1", apiKey: "-", fetch, dangerouslyAllowBrowser: true, maxRetries: 0 });
    return (await client.models.list()).data.length;
}"""
NORWAY = {"model": "demo", "messages": [{"role": "user", "content": "What is the capital of Norway?"}], "temperature": 0, "max_tokens": 12}
WEATHER = {
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


@pytest.fixture(scope="module")
def client(profiles: Profiles, site_url: str) -> Iterator[Page]:
    folder = vendor.fetch("tools")["openai"]

    def serve(route: Route) -> None:
        path = folder / route.request.url.split("/openai/", 1)[1]
        route.fulfill(body=path.read_bytes(), content_type="text/javascript")

    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.route(re.compile(r"/openai/.*\.m?js$"), serve)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    assert page.evaluate(START) == 0  # no model is there yet
    page.evaluate("rwkv.load().then(() => 0)")
    yield page
    page.context.close()


def ask(page: Page, **options: Any) -> Any:
    return page.evaluate("(request) => client.chat.completions.create(request)", NORWAY | options)


def failure(page: Page, request: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """(request) => client.chat.completions.create(request).then(() => ({}), ({ status, code, param, type, message, constructor }) =>
            ({ status, code, param, type, message, name: constructor.name }))""",
        request,
    )
    return found


def test_models_and_answers(client: Page) -> None:
    [model] = client.evaluate("client.models.list().then(({ data }) => data)")
    assert (model["object"], model["owned_by"]) == ("model", "rwkv")
    assert client.evaluate("client.models.retrieve('demo')") == model
    assert client.evaluate("rwkv.models.list()")["data"] == [model]
    reply = ask(client)
    assert "Oslo" in reply["choices"][0]["message"]["content"] and reply["choices"][0]["finish_reason"] == "stop"
    assert reply["model"] == model["id"] and reply["usage"]["total_tokens"] > reply["usage"]["completion_tokens"]
    text = client.evaluate(
        "client.completions.create({ model: 'demo', prompt: ['The capital of Norway is', 'The capital of Peru is'], max_tokens: 2, temperature: 0 })"
    )
    assert [choice["index"] for choice in text["choices"]] == [0, 1] and "Oslo" in text["choices"][0]["text"]


def test_streams(client: Page) -> None:
    found = client.evaluate(
        """async (request) => {
            const texts = ["", "", ""];
            let usage;
            const options = { n: 3, temperature: 1, seed: 5, stream: true, stream_options: { include_usage: true } };
            for await (const chunk of await client.chat.completions.create({ ...request, ...options })) {
                for (const { index, delta } of chunk.choices) texts[index] += delta.content ?? "";
                if (chunk.usage) usage = [chunk.usage, chunk.choices.length];
            }
            const { choices } = await client.chat.completions.create({ ...request, ...options, stream: false, stream_options: undefined });
            return { texts, usage, same: choices.map(({ message }) => message.content) };
        }""",
        NORWAY,
    )
    assert found["texts"] == found["same"] and all(found["texts"])
    usage, choices = found["usage"]
    assert choices == 0 and usage["prompt_tokens_details"]["cached_tokens"] > 0


def test_an_aborted_answer_frees_its_place(client: Page) -> None:
    long = NORWAY | {
        "messages": [{"role": "user", "content": "Count"}],
        "max_tokens": 5000,
        "temperature": 2,
        "ban": [0, 261],
        "template": "plain",
    }
    found = client.evaluate(
        """async (request) => {
            let chunks = 0;
            const streams = await Promise.all([1, 2, 3].map(() => client.chat.completions.create({ ...request, stream: true })));
            for (const stream of streams)
                for await (const _ of stream) if (++chunks % 3 === 0) break; // which aborts it
            const stop = new AbortController();
            const whole = client.chat.completions.create(request, { signal: stop.signal }).catch((e) => e.constructor.name);
            setTimeout(() => stop.abort(), 50);
            const plain = rwkv.fetch("https://rwkv.local/v1/models", { signal: AbortSignal.abort() }).catch((e) => e.name);
            return { chunks, whole: await whole, plain: await plain };
        }""",
        long,
    )
    assert found == {"chunks": 9, "whole": "APIUserAbortError", "plain": "AbortError"}
    assert "Oslo" in ask(client)["choices"][0]["message"]["content"]


def test_errors(client: Page) -> None:
    assert failure(client, NORWAY | {"temperature": 11}).items() >= {
        "status": 400, "code": "invalid_value", "param": "temperature", "type": "invalid_request_error", "name": "BadRequestError",
    }.items()  # fmt: skip
    assert failure(client, NORWAY | {"temprature": 1, "stream": True}).items() >= {"status": 400, "param": "temprature"}.items()
    assert failure(client, NORWAY | {"model": "gpt-5"}).items() >= {"status": 404, "code": "model_not_found", "param": "model"}.items()
    assert failure(client, {"model": "demo"}).items() >= {"status": 400, "param": "messages"}.items()
    found = client.evaluate(
        """async () => {
            const tell = async (path, init) => {
                const response = await rwkv.fetch("https://rwkv.local" + path, init);
                return [response.status, (await response.json()).error.code];
            };
            const post = (body) => ({ method: "POST", body });
            return [
                await tell("/v1/chat/completions", post("{")), await tell("/v1/chat/completions", post("[]")), await tell("/v1/chat/completions"),
                await tell("/v1/embeddings", post("{}")), await tell("/v1/models/none"), await tell("/", {}),
            ];
        }"""
    )
    assert found == [
        [400, "bad-json"], [400, "bad-json"], [405, "wrong-method"], [404, "unknown-endpoint"], [404, "model_not_found"], [404, "unknown-endpoint"],
    ]  # fmt: skip


def test_tools(client: Page) -> None:
    """Streamed; an answer at once is in the examples of the docs."""
    request = NORWAY | {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 120}
    choice = client.evaluate(
        """async (request) => { // the runner puts deltas together, and parses
            const { choices: [{ message, finish_reason }] } = await client.chat.completions.stream(request).finalChatCompletion();
            return { message: { ...message, parsed: undefined }, finish_reason };
        }""",
        request,
    )
    [call] = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], call["type"], call["function"]["name"]) == ("tool_calls", "function", "weather")
    arguments = json.loads(call["function"]["arguments"])
    assert set(arguments) == {"city", "days"} and arguments["city"] in ("Oslo", "Lima") and arguments["days"] in (1, 2, 3)
    answer = {"role": "assistant", "content": None, "tool_calls": [{k: call[k] for k in ("id", "type", "function")}]}
    history = [*NORWAY["messages"], answer, {"role": "tool", "tool_call_id": call["id"], "content": "Rain"}]  # type: ignore[misc]
    assert ask(client, messages=history, tools=[WEATHER], tool_choice="none", max_tokens=2)["choices"][0]["message"]["content"]


def test_structured_output(client: Page) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 12}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    [choice] = ask(client, response_format=wanted, max_tokens=60)["choices"]
    assert set(json.loads(choice["message"]["content"])) == {"capital"}
    bad = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "not": {}}}}
    assert failure(client, NORWAY | {"response_format": bad}).items() >= {"status": 400, "code": "bad-schema"}.items()


def test_which_answers_go_on_after_a_loss(client: Page) -> None:
    """`Heard` by itself: one plain text does; choices, calls and shapes that have begun do not."""
    found = client.evaluate(
        """async () => {
            const { Heard } = await import(new URL("engine/resume.js", location.href).href);
            const messages = [{ role: "user", content: "Hi" }];
            const chunk = (delta, index = 0) => ({ choices: [{ index, delta }] });
            const told = (request, ...chunks) => {
                const heard = new Heard({ messages, ...request });
                for (const one of chunks) heard.take(one);
                return heard;
            };
            const text = chunk({ content: "Hello" });
            const rest = told({ max_tokens: null, max_completion_tokens: 9, seed: null, n: null }, text).rest();
            return {
                goesOn: [told({}, text), told({ n: 1, response_format: { type: "text" } }, text), told({ n: 3 }), told({ tools: [] }, text)].map((h) => h.resumable),
                ends: [
                    told({ n: 2 }, text), told({ response_format: { type: "json_object" } }, text), told({}, chunk({ tool_calls: [{}] })),
                    told({ messages: undefined, prompt: ["a", "b"] }, { choices: [{ index: 0, text: "x" }] }),
                ].map((h) => h.resumable),
                rest: [rest.max_tokens, rest.max_completion_tokens, rest.seed, rest.messages.at(-1).content, rest.continue],
            };
        }"""
    )
    assert (found["goesOn"], found["ends"]) == ([True] * 4, [False] * 4)
    assert found["rest"] == [None, 8, None, "Hello", True]


def test_the_examples_of_the_docs(client: Page) -> None:
    page = make_api_docs.PAGE.read_text("utf-8")
    examples = "\n".join(re.findall(r"^```js\n(.*?)^```", page, re.S | re.M))
    code = re.sub(r"^import .*\n", "", examples, flags=re.M)
    said = client.evaluate(
        f"""async () => {{
            const said = [];
            const console = {{ log: (...what) => said.push(what) }};
            const Engine = {{ create: async () => rwkv }};
            {code}
            return said;
        }}"""
    )
    assert said[0] == ["The capital of Norway is Oslo."] and said[-1][1] is True
    assert "Oslo" in said[-3][0] and said[-2][0] < 20


def test_states_fork_and_limits(client: Page) -> None:
    found = client.evaluate(
        """async (request) => {
            const told = { messages: [{ role: "user", content: "What is the capital of Norway?" }, { role: "assistant", content: "Oslo." }] };
            const state = await rwkv.states.fork(told);
            const next = { ...request, messages: [{ role: "user", content: "And of Sweden?" }] };
            const forked = await rwkv.chat.completions.create({ ...next, state });
            const whole = await rwkv.chat.completions.create({ ...next, messages: [...told.messages, ...next.messages] });
            const small = await rwkv.states.limit({ memory: 0, stored: 0 });
            const bad = await rwkv.states.limit({ memory: -1 }).catch((e) => e.code);
            await rwkv.states.limit({ memory: 64 << 20, stored: 512 << 20 });
            const text = ({ choices }) => choices[0].message.content;
            return { same: text(forked) === text(whole), small, bad };
        }""",
        NORWAY,
    )
    assert (found["same"], found["bad"]) == (True, "bad-setting")
    assert (found["small"]["memory"], found["small"]["stored"], found["small"]["count"]) == (0, 0, 0)
