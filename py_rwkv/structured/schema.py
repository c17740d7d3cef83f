"""JSON schemas → parts of a grammar: the subset that OpenAI documents for structured outputs, and a little more (docs/structured.md).

Objects have the properties of the schema in its order, required or not, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn

from py_rwkv.errors import RwkvError
from py_rwkv.structured import numbers
from py_rwkv.structured.automaton import MANY, Either, Literal, Named, Part, Sequence_
from py_rwkv.structured.formats import FORMATS
from py_rwkv.structured.grammar import Grammar, choices
from py_rwkv.structured.json_parts import (
    COLON,
    COMMA,
    FALSE,
    NULL,
    QUOTE,
    SPACE,
    TRUE,
    any_value,
    array_of,
    kind_of,
    object_of,
    same,
    spelled,
    string,
)
from py_rwkv.structured.patterns import limited
from py_rwkv.structured.possible import prune
from py_rwkv.structured.regex import pattern_part

LARGEST, DEEPEST, MOST_VALUES, MOST_PROPERTIES = (
    1 << 20,
    60,
    2000,
    1000,
)  # of a schema: characters as JSON, levels, values of an enum, an object
MOST_ITEMS, MOST_CHARACTERS = 10_000, 1_000_000
NOTES = frozenset(
    "title description default examples example deprecated readOnly writeOnly $schema $id $comment $anchor $defs definitions".split()
)
KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
OF_KIND = {
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "additionalProperties"),
}
OF_KIND["integer"] = OF_KIND["number"]
KNOWN = frozenset({*NOTES, *(k for names in OF_KIND.values() for k in names), "type", "enum", "const", "anyOf", "$ref"})


def compiled(schema: Mapping[str, Any], name: str) -> Grammar:
    """`json_schema`."""
    try:
        text = json.dumps(schema, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RwkvError("bad-schema", keyword="the schema", path=name, reason=f"it is not JSON ({error})") from None
    if len(text) > LARGEST:
        raise RwkvError("bad-schema", keyword="the schema", path=name, reason=f"it has {len(text)} characters; {LARGEST} are allowed")
    return _compiled(text, name)


@lru_cache(16)
def _compiled(text: str, name: str) -> Grammar:
    try:
        return Grammar(_Compiler(json.loads(text, parse_float=Decimal)).whole())
    except RecursionError:
        raise RwkvError("bad-schema", keyword="the schema", path=name, reason="it is nested too deeply") from None


@lru_cache(1)
def any_object() -> Grammar:
    """`json_object`."""
    return Grammar(any_value()[1])


class _Compiler:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.refs: dict[str, Named] = {}
        self.later: list[Named] = []  # the ends of objects, named because an object may have hundreds of properties
        self.todo: list[Callable[[], None]] = []

    def fail(self, path: str, keyword: str, reason: str) -> NoReturn:
        raise RwkvError("bad-schema", keyword=keyword, path=path, reason=reason)

    def whole(self) -> Part:
        if not isinstance(self.root, dict):
            self.fail("#", "the schema", f"it must be an object, not {json.dumps(self.root, default=str)[:40]}")
        root = self.referred("#", "#")
        while self.todo:
            self.todo.pop()()
        prune([*self.later, *self.refs.values()])
        if not root.possible:
            self.fail("#", "$ref", "no finite text fits: something always contains itself")
        return root

    # ── parts ──

    def part(self, schema: Any, path: str, depth: int) -> Part:
        if schema is True or schema == {}:
            return any_value()[0]
        if not isinstance(schema, dict):
            self.fail(path, "a schema", "it must be an object" if schema is not False else "false allows nothing")
        if depth > DEEPEST:
            self.fail(path, "a schema", f"more than {DEEPEST} levels inside each other")
        for keyword in schema:
            if keyword not in KNOWN:
                self.fail(path, keyword, "is not supported")
        rules = {k: v for k, v in schema.items() if k not in NOTES}
        for keyword in ("$ref", "anyOf"):
            if keyword in rules:
                if others := [k for k in rules if k not in (keyword, "type")]:
                    self.fail(path, others[0], f"is not supported beside {keyword}")
                if keyword == "$ref" and "type" in rules:
                    self.fail(path, "type", "is not supported beside $ref")
                return self.referred(rules["$ref"], path) if keyword == "$ref" else self.any_of(rules, path, depth)
        if "const" in rules or "enum" in rules:
            return self.values(rules, path, depth)
        if not rules:
            return any_value()[0]
        return self.typed(rules, path, depth)

    def named(self, part: Part) -> Part:
        """The part by a name: what goes through a grammar need not go in."""
        found = Named()
        found.part = part
        self.later.append(found)
        return found

    def referred(self, pointer: Any, path: str) -> Named:
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            self.fail(path, "$ref", "it must point into the schema itself, like #/$defs/name")
        if pointer not in self.refs:
            target = self.root
            for step in _unquoted(pointer[1:]).split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                if isinstance(target, list) and step.isascii() and step.isdigit() and int(step) < len(target):
                    target = target[int(step)]
                elif isinstance(target, dict) and step in target:
                    target = target[step]
                else:
                    self.fail(path, "$ref", f"there is no {pointer[:80]}")
            if pointer != "#" and not pointer.startswith("#/"):
                self.fail(path, "$ref", f"there is no {pointer[:80]}")
            named = self.refs[pointer] = Named()
            self.todo.append(lambda: setattr(named, "part", self.part(target, pointer, 0)))
        return self.refs[pointer]

    def any_of(self, rules: Mapping[str, Any], path: str, depth: int) -> Part:
        ways = rules["anyOf"]
        if not isinstance(ways, list) or not ways:
            self.fail(path, "anyOf", "it must be a list of schemas")
        if "type" in rules:
            for i, way in enumerate(ways):
                if not isinstance(way, dict) or way.get("type", rules["type"]) != rules["type"] or "$ref" in way:
                    self.fail(path, "type", f"beside anyOf it must be that of each way; anyOf[{i}] differs")
            ways = [{"type": rules["type"], **way} for way in ways]
        return Either(*(self.part(way, f"{path}/anyOf/{i}", depth + 1) for i, way in enumerate(ways)))

    def values(self, rules: Mapping[str, Any], path: str, depth: int) -> Part:
        """Those of `enum` (or `const`) that the other keywords allow."""
        given = rules["enum"] if "enum" in rules else [rules["const"]]
        keyword = "enum" if "enum" in rules else "const"
        if not isinstance(given, list) or not given or len(given) > MOST_VALUES:
            self.fail(path, "enum", f"it must be a list of 1 to {MOST_VALUES} values")
        if "const" in rules:
            given = [value for value in given if same(value, rules["const"])]
        try:
            texts = [(value, spelled(value)) for value in given]
        except UnicodeEncodeError:
            self.fail(path, keyword, "half of a surrogate pair is no character")
        rest = {k: v for k, v in rules.items() if k not in ("enum", "const")}
        if rest:
            kinds = self.kinds(rest, path)
            allowed = {kind: Grammar(self.kind(kind, rest, path, depth)) for kind in kinds} if len(rest) > ("type" in rest) else {}
            texts = [(v, t) for v, t in texts if (kind := kind_of(v, kinds)) in kinds and (not allowed or allowed[kind].accepts(t))]
        if not texts:
            self.fail(path, keyword, "none of its values fits the other keywords")
        return choices([text for _, text in texts])

    def kinds(self, rules: Mapping[str, Any], path: str) -> list[str]:
        """The types that are allowed; where none is given, those that the keywords are about."""
        kinds = rules.get("type")
        if kinds is None:
            about = [kind for kind in ("string", "number", "array", "object") if any(k in rules for k in OF_KIND[kind])]
            if len(about) != 1:
                self.fail(path, "type", "is missing")
            return about
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list) or not kinds or any(kind not in KINDS for kind in kinds):
            self.fail(path, "type", f"it must be one or some of {', '.join(KINDS)}")
        for keyword in rules:
            if keyword != "type" and not any(keyword in OF_KIND.get(kind, ()) for kind in kinds):
                self.fail(path, keyword, f"says nothing about {' or '.join(kinds)}")
        return [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]

    def typed(self, rules: Mapping[str, Any], path: str, depth: int) -> Part:
        ways = [self.kind(kind, rules, path, depth) for kind in dict.fromkeys(self.kinds(rules, path))]
        return ways[0] if len(ways) == 1 else Either(*ways)

    def kind(self, kind: str, rules: Mapping[str, Any], path: str, depth: int) -> Part:
        match kind:
            case "null":
                return NULL
            case "boolean":
                return Either(TRUE, FALSE)
            case "string":
                return self.string(rules, path)
            case "array":
                low, high = self.counts(rules, path, "minItems", "maxItems", MOST_ITEMS)
                return array_of(self.part(rules.get("items", True), f"{path}/items", depth + 1) if high else any_value()[0], low, high)
            case "object":
                return self.object(rules, path, depth)
        return self.number(rules, path, kind == "integer")

    def counts(self, rules: Mapping[str, Any], path: str, least: str, most: str, limit: int) -> tuple[int, int]:
        low, high = rules.get(least, 0), rules.get(most, MANY)
        for keyword, value in ((least, low), (most, high)):
            if keyword in rules and (
                isinstance(value, bool) or not isinstance(value, int | Decimal) or value != int(value) or not 0 <= value <= limit
            ):
                self.fail(path, keyword, f"it must be a whole number from 0 to {limit}")
        if low > high:
            self.fail(path, least, f"it is above {most}")
        return int(low), int(high)

    def string(self, rules: Mapping[str, Any], path: str) -> Part:
        low, high = self.counts(rules, path, "minLength", "maxLength", MOST_CHARACTERS)
        if "pattern" in rules and "format" in rules:
            self.fail(path, "format", "is not supported beside pattern")
        if "pattern" not in rules and "format" not in rules:
            return string(low, high)
        if "format" in rules:
            keyword, name = "format", rules["format"]
            if not isinstance(name, str) or name not in FORMATS:
                self.fail(path, "format", f"it must be one of {', '.join(FORMATS)}")
            inside = pattern_part(FORMATS[name], json=True)
        else:
            keyword = "pattern"
            try:
                inside = pattern_part(rules["pattern"], json=True, anywhere=True)
            except RwkvError as error:
                self.fail(path, "pattern", f"{error.details['reason']} (at character {error.details['at']})")
        fitted = limited(inside, low, high)
        if fitted is None:
            self.fail(path, "minLength" if low else "maxLength", f"cannot be combined with this {keyword}")
        return Sequence_(QUOTE, fitted, QUOTE)

    def number(self, rules: Mapping[str, Any], path: str, whole: bool) -> Part:
        bounds: dict[str, Decimal] = {}
        for keyword in OF_KIND["number"]:
            if keyword in rules:
                value = rules[keyword]
                if isinstance(value, bool) or not isinstance(value, int | Decimal) or (keyword == "multipleOf" and value <= 0):
                    self.fail(path, keyword, "it must be a number" + (" above 0" if keyword == "multipleOf" else ""))
                bounds[keyword] = Decimal(value)
                if (bounds[keyword] and not -20 <= bounds[keyword].adjusted() < 40) or len(bounds[keyword].as_tuple().digits) > 60:
                    self.fail(path, keyword, "it must be 0, or between 1e-20 and 1e40 in size, of at most 60 digits")
        if not bounds:
            return numbers.integer() if whole else numbers.number()
        part = numbers.bounded(bounds, whole)
        if part is None:
            self.fail(path, next(iter(bounds)), "no number fits")
        return part

    def object(self, rules: Mapping[str, Any], path: str, depth: int) -> Part:
        properties, required, more = rules.get("properties", {}), rules.get("required", []), rules.get("additionalProperties", True)
        if not isinstance(properties, dict):
            self.fail(path, "properties", "it must be an object")
        if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
            self.fail(path, "required", "it must be a list of names")
        if missing := [key for key in required if key not in properties]:
            self.fail(path, "required", f"{missing[0][:80]!r} is not one of the properties")
        if not isinstance(more, bool | dict):
            self.fail(path, "additionalProperties", "it must be true, false or a schema")
        if not properties:
            if more is False:
                return Literal(b"{}")
            return object_of(Sequence_(string(), COLON, self.part(more, f"{path}/additionalProperties", depth + 1)))
        if isinstance(more, dict):
            self.fail(path, "additionalProperties", "a schema is supported only where there are no properties")
        if len(properties) > MOST_PROPERTIES:
            self.fail(path, "properties", f"there are {len(properties)}; {MOST_PROPERTIES} are allowed")
        try:
            keys = [spelled(key) for key in properties]
        except UnicodeEncodeError:
            self.fail(path, "properties", "half of a surrogate pair is no character")
        values = [self.part(value, f"{path}/properties/{key}", depth + 1) for key, value in properties.items()]
        pairs = [Sequence_(Literal(key + b":"), SPACE, value) for key, value in zip(keys, values, strict=True)]
        close, needed, ended = Literal(b"}"), set(required), True  # ended: whether none of those from here on is required
        some: Part | None = None  # one of them, and what follows; None: there are no more
        tail: Part = close  # what may follow a value
        for pair, key in reversed([*zip(pairs, properties, strict=True)]):
            here = Sequence_(pair, tail)
            ended = ended and key not in needed
            some = self.named(here if some is None or key in needed else Either(here, some))
            more_to_come = Sequence_(COMMA, some)
            tail = self.named(Either(close, more_to_come) if ended else more_to_come)
        assert some is not None
        return Sequence_(Literal(b"{"), Either(close, some) if ended else some)


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # takes as long to import as everything else here

    return unquote(text)
