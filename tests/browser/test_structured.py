"""Structured output in the page: the demo model, held to twenty schemas through the API, answers with JSON that satisfies each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from json_checks import parse, valid
from playwright.sync_api import Page
from profiles import Profiles

WORD = {"type": "string", "maxLength": 6}
TREE = {
    "type": "object",
    "properties": {"v": {"type": "integer", "maximum": 9, "minimum": 0}, "kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1}},
    "required": ["v", "kids"],
    "additionalProperties": False,
}


def thing(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMAS: list[Any] = [
    thing(name={"type": "string", "maxLength": 12}, age={"type": "integer", "minimum": 0, "maximum": 120}),
    thing(animal={"enum": ["cat", "dog", "cow"]}, happy={"type": "boolean"}),
    thing(tags={"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 3}),
    thing(price={"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.25}),
    thing(who={"anyOf": [WORD, {"type": "null"}]}, n={"const": 1}),
    thing(inner=thing(a={"type": "boolean"}, b={"type": "null"})),
    thing(day={"type": "string", "format": "date"}),
    thing(at={"type": "string", "format": "time"}),
    {"type": "string", "format": "email", "enum": ["a@b.c", "d@e.f"]},
    thing(ip={"type": "string", "format": "ipv4"}),
    thing(took={"type": "string", "format": "duration"}),
    thing(code={"type": "string", "pattern": "^[A-Z]{2}-\\d{3}$"}),
    {
        "type": "array",
        "items": {"type": "integer", "multipleOf": 7, "exclusiveMinimum": 0, "exclusiveMaximum": 100},
        "minItems": 2,
        "maxItems": 4,
    },
    {"type": ["string", "null"], "minLength": 3, "maxLength": 9},
    {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9, "minimum": -9}, "b": WORD}, "additionalProperties": False},
    TREE,
    {"$defs": {"p": thing(x={"enum": [0, 0.5, 1]})}, "type": "array", "items": {"$ref": "#/$defs/p"}, "minItems": 1, "maxItems": 2},
    {"anyOf": [thing(kind={"const": "circle"}, r={"enum": [1, 2]}), thing(kind={"const": "square"}, side={"enum": [3, 4]})]},
    {"enum": ["yes", "no", None, {"maybe": [True]}]},
    thing(**{"日本": {"type": "string", "maxLength": 4}, 'a "b"\n': {"type": "boolean"}}),
]
ASK = """(requests) => Promise.all(requests.map(async (request) => {
    const { choices: [choice], timings, usage } = await rwkv.chat.completions.create(request);
    return { text: choice.message.content, reason: choice.finish_reason, seconds: timings.mask_seconds, tokens: usage.completion_tokens, logprobs: choice.logprobs };
}))"""


def request(shape: dict[str, Any], seed: int, **options: Any) -> dict[str, Any]:
    question = {"role": "user", "content": "Tell me about a girl, as JSON."}
    return {"messages": [question], "temperature": 1.2, "top_p": 0.9, "seed": seed, "max_tokens": 150, "response_format": shape, **options}


@pytest.fixture(scope="module")
def demo(profiles: Profiles, site_url: str) -> Iterator[Page]:
    page = profiles.new().new_page()
    page.set_default_timeout(120_000)
    page.goto(site_url)
    page.wait_for_selector("html[data-state]")
    page.evaluate("rwkv.load('demo', { parallel: 8 }).then(() => 0)")
    yield page
    page.context.close()


def test_twenty_schemas(demo: Page) -> None:
    """Several at a time, each with masks of its own; at the end no mask is worked out anew."""
    shapes = [{"type": "json_schema", "json_schema": {"name": f"s{i}", "schema": schema}} for i, schema in enumerate(SCHEMAS)]
    answers = demo.evaluate(ASK, [request(shape, i) for i, shape in enumerate(shapes)])
    for schema, answer in zip(SCHEMAS, answers, strict=True):
        assert answer["reason"] == "stop", answer
        assert valid(parse(answer["text"]), parse(json.dumps(schema))), (schema, answer["text"])
    again = demo.evaluate(ASK, [request(shapes[i], i) for i in (0, 1)])
    assert [a["text"] for a in again] == [answers[i]["text"] for i in (0, 1)]
    assert sum(a["seconds"] or 0 for a in again) <= sum(a["seconds"] or 0 for a in answers)  # masks that are known


def test_patterns_objects_and_logprobs(demo: Page) -> None:
    shapes = [
        {"type": "regex", "pattern": "[A-Z][a-z]{2,8} (is|was) [a-z ]{3,6}\\."},
        {"type": "json_object"},
        {"type": "choice", "choices": ["yes", "no"]},
    ]
    options = {"logprobs": True, "top_logprobs": 5}
    pattern, thing, choice = demo.evaluate(ASK, [request(shape, 3, max_tokens=30, **options) for shape in shapes])
    assert re.fullmatch(shapes[0]["pattern"], pattern["text"])
    assert thing["text"].startswith("{") and (thing["reason"] == "length" or isinstance(parse(thing["text"]), dict))
    assert choice["text"] in ("yes", "no")
    for token in choice["logprobs"]["content"]:
        assert all(
            "yes".startswith(t["token"].strip()) or "no".startswith(t["token"].strip()) or t["token"] in ("es", "s", "o")
            for t in token["top_logprobs"]
        )


def test_a_schema_outside_the_subset_is_refused_by_keyword(demo: Page) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"not": {}}}}}}
    error = demo.evaluate("(r) => rwkv.chat.completions.create(r).catch((e) => ({ code: e.code, message: e.message }))", request(shape, 0))
    assert error["code"] == "bad-schema" and "not at #/properties/a" in error["message"]
