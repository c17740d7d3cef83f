"""Structured output without a model: whatever is chosen among the allowed tokens satisfies the schema or the pattern, and what does not is refused by name."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_checks import parse, valid
from writing import Few, allowed, write

from py_rwkv.chat.openai import parse_request
from py_rwkv.errors import RwkvError
from py_rwkv.structured import Grammar, alternatives, choice, json_object, json_schema, literal, optional, regex, sequence, until
from py_rwkv.structured.automaton import MOST_STACKS
from py_rwkv.structured.formats import FORMATS
from py_rwkv.structured.masks import EFFORT, index_of
from py_rwkv.structured.schema import KNOWN, NOTES
from py_rwkv.tokenizer import tokenizer_for

FEW, WORLD = Few(), tokenizer_for("world")
whole: Counter[bool] = Counter()  # of the random texts: which came to an end

# ── random schemas ──

KEYS = st.sampled_from(["a", "b", "name", "a b", 'quote"', "日本", "", "\n"])
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1000, 1000),
    st.sampled_from(["", "a", "ab", 'x"y', "日", "\\", "1.5"]),
    st.just([1, {"a": None}]),
)
PATTERNS = st.sampled_from(
    ["^[a-z]+$", "^\\d{3}-\\d{2}$", "ab", "^(x|yz)*$", "^@\\w{1,8}$", '^[^a-z"]{0,4}$', "é|日本", "^.?$", "^a.*b$", '\\\\|"']
)
COUNTS = st.tuples(st.integers(0, 4), st.integers(0, 5)).map(sorted)


def limits(draw: Any, least: str, most: str) -> dict[str, int]:
    low, high = draw(COUNTS)
    return draw(st.sampled_from([{}, {least: low}, {most: high}, {least: low, most: high}]))


@st.composite
def leaves(draw: Any) -> dict[str, Any]:
    """Schemas of what has no parts."""
    kind = draw(st.sampled_from(["null", "boolean", "string", "pattern", "format", "integer", "number", "enum", "const", "ref", "types"]))
    match kind:
        case "string":
            return {"type": kind} | limits(draw, "minLength", "maxLength")
        case "pattern":
            return {"type": "string", "pattern": draw(PATTERNS)}
        case "format":
            return {"type": "string", "format": draw(st.sampled_from(sorted(FORMATS)))}
        case "integer" | "number":
            return {"type": kind} | draw(bounds(kind == "integer"))
        case "enum":
            return {kind: draw(st.lists(VALUES, min_size=1, max_size=5))}
        case "const":
            return {kind: draw(VALUES)}
        case "ref":
            return {"$ref": draw(st.sampled_from(["#/$defs/list", "#/$defs/tree"]))}
        case "types":
            return {"type": draw(st.lists(st.sampled_from(["null", "string", "integer", "boolean"]), min_size=1, max_size=3, unique=True))}
    return {"type": kind}


@st.composite
def bounds(draw: Any, integer: bool) -> dict[str, Any]:
    """Bounds that some number is within."""
    step = draw(st.sampled_from([1, 3, 7, 250] if integer else [0.5, 0.01, 2, 1.25]))
    low = draw(st.integers(-300, 300)) * (1 if integer else draw(st.sampled_from([1, 0.1, 0.25])))
    low, high = round(low, 6), round(low + draw(st.integers(2, 40)) * step, 6)
    lower = draw(st.sampled_from([{}, {"minimum": low}, {"exclusiveMinimum": low}]))
    upper = draw(st.sampled_from([{}, {"maximum": high}, {"exclusiveMaximum": high}]))
    return {**lower, **upper, **draw(st.sampled_from([{}, {"multipleOf": step}]))}


@st.composite
def objects(draw: Any, children: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(KEYS, children, max_size=4))
    required = [key for key in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def parts(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = st.builds(lambda items, n: {"type": "array", "items": items, "minItems": n[0], "maxItems": n[1]}, children, COUNTS)
    maps = st.builds(lambda value: {"type": "object", "additionalProperties": value}, children)
    either = st.builds(lambda ways: {"anyOf": ways}, st.lists(children, min_size=1, max_size=3))
    return st.one_of(objects(children), arrays, maps, either)


DEFS = {
    "list": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/list"}, "minItems": 1, "maxItems": 2}]},
    "tree": {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["kids"],
        "additionalProperties": False,
    },
}
SCHEMAS = st.recursive(leaves(), parts, max_leaves=6).map(lambda schema: {**schema, "$defs": DEFS})

# ── random patterns ──

SINGLE = st.sampled_from(
    ["a", "b", "é", "日", ".", "\\d", "\\w", "[a-c]", "[^a\\d]", "\\.", "\\S", "-", " ", '"', "\\\\", "[\\s\\S]", "\\u0041", "x"]
)
TIMES = st.sampled_from(["", "", "*", "+", "?", "{2}", "{0,3}", "{1,}", "*?", "{0}"])


def longer(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds(lambda kind, x, n: f"({kind}{x}){n}", st.sampled_from(["", "?:"]), children, TIMES)
    return st.one_of(group, st.builds(lambda x, y: x + y, children, children), st.builds(lambda x, y: f"(?:{x}|{y})", children, children))


REGEXES = st.recursive(st.builds(lambda x, n: x + n, SINGLE, TIMES), longer, max_leaves=8)
RANDOM = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


@RANDOM
@given(schema=SCHEMAS, seed=st.integers(0, 1 << 32))
def test_random_schemas(schema: Any, seed: int) -> None:
    text, ended = write(json_schema(schema), FEW, Random(seed))
    whole[ended] += 1
    if ended:
        assert valid(parse(text), parse(json.dumps(schema))), text


@RANDOM
@given(pattern=REGEXES, seed=st.integers(0, 1 << 32))
def test_random_patterns(pattern: str, seed: int) -> None:
    text, ended = write(regex(pattern), FEW, Random(seed))
    whole[ended] += 1
    if ended:
        assert re.fullmatch(pattern, text.decode("utf-8"), re.A), text


def test_nearly_all_of_the_random_texts_came_to_an_end() -> None:
    assert whole[True] > 20 * whole[False]


# ── masks ──


SOME = sorted(
    {*Random(1).sample(range(1, WORLD.vocab_limit), 2000), *(t for t in range(1, WORLD.vocab_limit) if WORLD.token_bytes(t)[-1:] in b'"}')}
)


def masks_on_the_way(grammar: Grammar, text: str) -> list[int]:
    """How many tokens the masks on the way through a text allow; checked against some tokens put through the automaton by themselves."""
    matcher, counts = grammar.matcher(WORLD, (0,)), []
    for token in [*WORLD.encode(text), None]:
        state, found = matcher._state, set(allowed(matcher.mask()))
        assert {t for t in SOME if grammar.automaton.feed(state, WORLD.token_bytes(t))} == found & set(SOME)
        assert (0 in found) == matcher.may_end
        counts.append(len(found))
        if token is not None:
            assert token in found
            matcher.advance(token)
    assert matcher.may_end
    return counts


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}},
        "kind": {"enum": ["human", "robot", "humus"]},
        "height": {"type": "number", "minimum": 0.3, "maximum": 2.6},
    },
    "required": ["name", "tags", "kind"],
    "additionalProperties": False,
}
WAYS = {
    "person": (json_schema(PERSON), '{"name": "Ada \\"L\\" 日本\\u00e9", "tags":["x y", "the first"], "kind": "human", "height": 1.65}'),
    "object": (json_object(), '{"a": [1, -2.5e3, {"b": null}], "日": {"x": "", "y": true}}'),
    "sentence": (regex(r"[A-Z][a-z]*( [a-z]+){2,8}[.!?]"), "The quick brown fox jumps."),
    "unanchored": (json_schema({"type": "string", "pattern": "foo.*b"}), '"a foo and a bar"'),
    "counted": (regex(r"(?:[a-z]+ ?){1,9}"), "some words in a row"),
    "either": (alternatives(sequence("<call>", json_object()), regex("[^<][\\s\\S]*")), "Any text, 什么都行."),
    "thought": (sequence(until("</think>"), optional("\n"), choice(["yes", "no"])), "hm</thin </think>\nno"),
}


@pytest.mark.parametrize("name", WAYS)
def test_masks_allow_just_the_tokens_that_fit(name: str) -> None:
    grammar, text = WAYS[name]
    counts = masks_on_the_way(grammar, text)
    assert counts[-1] <= 1 or name in ("either", "counted")
    assert max(counts) > 300


@settings(max_examples=60, deadline=None)
@given(pattern=REGEXES, seed=st.integers(0, 1 << 32))
def test_both_ways_to_a_mask_agree(pattern: str, seed: int) -> None:
    """Part by part, and token by token where that would be too much."""
    text, _ = write(regex(pattern), FEW, Random(seed), wander=4, most=8)
    one, other = (Grammar(regex(pattern).part).matcher(FEW, (0,)) for _ in range(2))
    other._masks._effort = 0
    for byte in text:
        assert one.mask() == other.mask()
        for matcher in (one, other):
            matcher.advance(1 + byte)


def test_a_mask_depends_on_what_is_near_not_on_how_deep_it_is() -> None:
    """Nothing new is worked out at the tenth level."""
    grammar = json_schema(DEFS["tree"] | {"$defs": DEFS})
    matcher = grammar.matcher(FEW, (0,))
    index, looked = index_of(FEW), []
    for _ in range(10):
        index.effort.left = EFFORT
        for byte in b'{"v":1,"kids":[':
            matcher.mask()
            matcher.advance(1 + byte)
        looked.append(EFFORT - index.effort.left)
    assert looked[-1] == 0 or looked[-1] <= min(looked[1:])


# ── what fits, and what does not ──

FITS: list[tuple[Any, list[str], list[str]]] = [
    ({"type": "string"}, ['""', '"a\\n\\u00e9日"', '"\\/"'], ["a", '"', '"\n"', '"\\ud800"', '"\\x"', ' ""', '"" ']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"日本"', '"a\\u0041b"'], ['"a"', '"abcd"']),
    ({"type": "integer"}, ["0", "-0", "12"], ["01", "1.0", "+1", "1e2", "-"]),
    ({"type": "number"}, ["0.5", "-1e9", "1E+05", "123456789012345"], [".5", "1.", "1e", "1e100", "NaN"]),
    ({"type": "integer", "minimum": -5, "exclusiveMaximum": 120, "multipleOf": 5}, ["-5", "0", "115"], ["120", "-10", "7", "1150", "00"]),
    ({"type": "integer", "multipleOf": 2.5}, ["5", "-10"], ["2", "2.5"]),
    ({"type": "number", "multipleOf": 0.01, "minimum": 0}, ["1.25", "1.2", "3"], ["1.255", "-0.01"]),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, ["0.5", "0.000001"], ["0", "1", "0.0", "1.0", "-0.5"]),
    ({"enum": ["a", 1, None, [1, {"b": 2.50}]]}, ['"a"', "1", "null", '[1,{"b":2.5}]'], ['"b"', "1.0", "nul", "[1]"]),
    ({"type": ["string", "null"], "enum": ["a", 1, None]}, ['"a"', "null"], ["1"]),
    (
        {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        ["[]", "[true, false]", "[true,true]"],
        ["[true,]", "[true,true,true]", "[ true]"],
    ),
    ({"type": "array", "items": {}, "minItems": 2, "maxItems": 2}, ['[1,{"a":[]}]'], ["[1]", "[]"]),
    (
        PERSON,
        ['{"name":"","tags":[],"kind":"humus"}'],
        ['{"tags":[],"name":"","kind":"robot"}', '{"name":"","tags":[]}', '{"name":"","tags":[],"kind":"robot",}'],
    ),
    ({"type": "object"}, ["{}", '{"a": 1, "b": {}}'], ["[]", '{"a"}', "{1:1}"]),
    ({"type": "object", "properties": {}, "additionalProperties": False}, ["{}"], ['{"a":1}']),
    ({"properties": {"a": {}, "b": {}}}, ["{}", '{"b":1}', '{"a":1,"b":2}'], ['{"b":1,"a":2}', '{"c":1}']),
    (
        {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": {"items": {"$ref": "#"}, "type": "array"}}},
        ["[[],null]", "null"],
        ["{}"],
    ),
    ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"const": 1}}}, ["1"], ["2"]),
    ({"type": "string", "pattern": "b+"}, ['"abc"', '"b"'], ['"a"']),
    ({"type": "string", "pattern": "^a\\d+$", "minLength": 3, "maxLength": 4}, ['"a12"', '"a123"'], ['"a1"', '"a1234"']),
    (
        {"type": "string", "format": "date"},
        ['"2024-02-29"', '"1999-12-31"'],
        ['"2023-02-29"', '"2024-13-01"', '"2024-04-31"', '"1900-02-29"'],
    ),
    (
        {"type": "string", "format": "ipv6"},
        ['"::"', '"1::"', '"::1"', '"1:2:3:4:5:6:7:8"', '"fe80::1:2"'],
        ['":"', '"1:2"', '"1::2::3"', '"1:2:3:4:5:6:7::8"'],
    ),
    (True, ["1", "{}"], ["", "tru"]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), FITS[:-1])
def test_what_fits_a_schema(schema: Any, good: list[str], bad: list[str]) -> None:
    grammar = json_schema(schema)
    assert [text for text in good if not grammar.accepts(text)] == []
    assert [text for text in bad if grammar.accepts(text)] == []
    assert all(valid(parse(text), parse(json.dumps(schema))) for text in good)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("a|b{2}c*", ["a", "bb", "bbcc"], ["b", "ac", "abb"]),
        ("^(yes|no)$", ["yes", "no"], ["", "maybe", "yesno"]),
        ("[^\\]\\w-]+", [" é", "日"], ["a", "]", "-", "_"]),
        ("(?<year>\\d{4})-(?:0[1-9]|1[0-2])", ["2024-12"], ["2024-13"]),
        ("\\u65e5\\x41\\ud83d\\ude00[\\t\\n]", ["日A😀\t"], ["日A😀 "]),
        ("(a?){3}(b*)*", ["", "aaa", "aabbb"], ["aaaa", "ba"]),
        (".", ["😀", "\\"], ["\n", "\r", "ab", ""]),
        ("a{2", ["a{2"], ["aa"]),
    ],
)
def test_what_fits_a_pattern(pattern: str, good: list[str], bad: list[str]) -> None:
    grammar = regex(pattern)
    assert [text for text in good if not grammar.accepts(text)] == []
    assert [text for text in bad if grammar.accepts(text)] == []


def deep(levels: int) -> Any:
    schema: Any = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


A = "#/properties/a"


@pytest.mark.parametrize(
    ("schema", "keyword", "path"),
    [
        ({"properties": {"a": {"oneOf": []}}}, "oneOf", A),
        ({"properties": {"a": {"type": "strin"}}}, "type", A),
        ({"properties": {"a": {"type": "string", "minimum": 1}}}, "minimum", A),
        ({"properties": {"a": {"type": "string", "format": "uri"}}}, "format", A),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "pattern", A),
        ({"properties": {"a": {"type": "string", "pattern": "a+b+", "maxLength": 9}}}, "maxLength", A),
        ({"properties": {"a": {"type": "integer", "minimum": 1.2, "maximum": 1.8}}}, "minimum", A),
        ({"properties": {"a": {"type": "integer", "multipleOf": 0}}}, "multipleOf", A),
        ({"properties": {"a": {"type": "array", "minItems": 3, "maxItems": 2}}}, "minItems", A),
        ({"properties": {"a": {"type": "array", "maxItems": 10**9}}}, "maxItems", A),
        ({"properties": {"a": {"type": "string", "maxLength": -1}}}, "maxLength", A),
        ({"properties": {"a": {"enum": []}}}, "enum", A),
        ({"properties": {"a": {"enum": ["a"], "type": "integer"}}}, "enum", A),
        ({"properties": {"a": {"enum": ["\ud800"]}}}, "enum", A),
        ({"properties": {"a": {"const": 1, "enum": [2]}}}, "enum", A),
        ({"properties": {"a": {"anyOf": []}}}, "anyOf", A),
        ({"properties": {"a": {"anyOf": [{}], "minLength": 1}}}, "minLength", A),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "$ref", A),
        ({"properties": {"a": {"$ref": "other.json"}}}, "$ref", A),
        ({"properties": {"a": False}}, "a schema", A),
        ({"properties": {"a": {"required": ["x"]}}}, "required", A),
        ({"properties": {"a": {"properties": {"b": {}}, "additionalProperties": {}}}}, "additionalProperties", A),
        ({"properties": {"a": {"minLength": 1, "minItems": 1}}}, "type", A),
        ({"properties": []}, "properties", "#"),
        ({"properties": {str(i): {} for i in range(1001)}}, "properties", "#"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "$ref", "#"),
        ({"$ref": "#"}, "$ref", "#"),
        ({"const": float("nan")}, "the schema", "schema"),
        ({"const": "x" * (1 << 20)}, "the schema", "schema"),
        (deep(70), "a schema", "#" + "/items" * 61),
        (deep(20000), "the schema", "schema"),
    ],
)
def test_a_schema_outside_the_subset_is_refused_with_keyword_and_path(schema: Any, keyword: str, path: str) -> None:
    with pytest.raises(RwkvError) as caught:
        json_schema(schema)
    assert (caught.value.code, caught.value.details["keyword"], caught.value.details["path"]) == ("bad-schema", keyword, path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("pattern", "at", "reason"),
    [
        ("a(?=b)", 3, "lookahead"),
        ("(?<!b)a", 2, "lookbehind"),
        ("(a)\\1", 4, "backreference"),
        ("\\ba", 1, "\\b is not supported"),
        ("\\p{L}", 1, "\\p is not supported"),
        ("(?i)a", 2, "flags"),
        ("a++", 2, "possessive"),
        ("*a", 0, "nothing to repeat"),
        ("a**", 2, "nothing to repeat"),
        ("(a", 2, "not closed"),
        ("a)", 1, "closes nothing"),
        ("[a", 2, "not closed"),
        ("[b-a]", 4, "range"),
        ("[^\\s\\S]", 7, "without any character"),
        ("a$b", 2, "at the ends"),
        ("a(^b)", 2, "at the beginning"),
        ("\\", 1, "backslash"),
        ("a{3,2}", 1, "count"),
        ("a{200000}", 1, "count"),
        ("\\ud800", 6, "surrogate"),
        ("((a{1,40}b){40}c){40}", 21, "places"),
        ("(" * 50 + "a" + ")" * 50, 41, "groups"),
        ("a" * 5000, 0, "characters"),
    ],
)
def test_a_pattern_outside_the_subset_is_refused_with_its_place(pattern: str, at: int, reason: str) -> None:
    with pytest.raises(RwkvError) as caught:
        regex(pattern)
    assert (caught.value.code, caught.value.details["at"]) == ("bad-regex", at)
    assert reason in caught.value.details["reason"]


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*,){11}P", "(x+x+)+y", "(?:.{0,30}x?){0,30}y"])
def test_patterns_that_others_choke_on_are_harmless(pattern: str) -> None:
    """A state is a set: no text has more ways through it than the pattern has places."""
    automaton = Grammar(regex(pattern).part).automaton
    state = automaton.start
    for _ in range(60):
        state = automaton.step(state, ord("a")) or automaton.step(state, ord("x")) or state
        assert len(state.stacks) <= MOST_STACKS


def test_what_has_no_finite_text_is_left_out_of_choices() -> None:
    grammar = json_schema(
        {
            "anyOf": [{"$ref": "#/$defs/endless"}, {"const": 1}],
            "$defs": {"endless": {"type": "array", "items": {"$ref": "#/$defs/endless"}, "minItems": 1}},
        }
    )
    assert grammar.accepts("1") and not grammar.begins("[")


def test_grammars_can_be_put_together() -> None:
    grammar = sequence("<", alternatives(json_object(), literal("x")), optional("!"), ">")
    assert all(map(grammar.accepts, ["<x>", "<x!>", '<{"a":1}>']))
    assert not any(map(grammar.accepts, ["<>", "<x!!>", "x"]))
    assert choice(["a", "ab", "b"]).accepts("ab") and not choice(["a", "ab"]).accepts("b")
    rows = choice(["a" * n for n in range(1, 200)])
    assert rows.accepts("a" * 199) and not rows.accepts("a" * 200)


def test_a_matcher_takes_only_what_its_mask_allows() -> None:
    matcher = choice(["yes", "no"]).matcher(FEW, (0,), signs=FEW.encode("\n"))
    newline = 1 + ord("\n")
    for token in (0, newline, 1 + ord("x")):
        with pytest.raises(RwkvError, match="does not fit"):
            matcher.advance(token)
    for byte in b"no":
        matcher.advance(1 + byte)
    assert matcher.finished and matcher.may_end and allowed(matcher.mask()) == [0, newline]
    matcher.advance(newline)
    assert matcher.ended
    with pytest.raises(RwkvError, match="does not fit"):
        matcher.advance(0)


def test_the_same_schema_is_the_same_grammar() -> None:
    assert json_schema(PERSON) is json_schema(json.loads(json.dumps(PERSON))) and regex("a+") is regex("a+")
    assert json_schema({"const": 1}).accepts("1") and not json_schema({"const": Decimal("1.5") and 2}).accepts("1")


def test_the_examples_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs/structured.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    [request] = re.findall(r"```json\n(.*?)```", text, re.S)
    grammar = parse_request(json.loads(request), {"template": "world"}).grammar
    assert grammar is not None and grammar.accepts('{"name": "Ada Lovelace", "born": 1815}')


def test_the_docs_name_every_keyword_and_format() -> None:
    text = (Path(__file__).parents[2] / "docs/structured.md").read_text("utf-8")
    assert [word for word in (*KNOWN - NOTES, *FORMATS) if f"`{word}`" not in text] == []


def test_what_is_put_together_from_the_same_is_the_same() -> None:
    """Requests make their grammars anew, and begin with what earlier ones found out."""

    def made() -> Grammar:
        return alternatives(sequence("<", json_object(), ">"), optional(choice(["a", "b"])), until("!"), literal("x"))

    assert made() is made()
