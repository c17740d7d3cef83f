"""JSON as parts of a grammar: strings, arrays, objects, anything; and its values as Python has them.

White space: at most one space after `:` and `,`, none elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from py_rwkv.structured.automaton import MANY, Either, Literal, Named, Part, Repeat, Sequence_
from py_rwkv.structured.characters import ALL
from py_rwkv.structured.numbers import number
from py_rwkv.structured.patterns import characters

SPACE = Repeat(Literal(b" "), 0, 1)
COLON, COMMA, QUOTE = Sequence_(Literal(b":"), SPACE), Sequence_(Literal(b","), SPACE), Literal(b'"')
TRUE, FALSE, NULL = Literal(b"true"), Literal(b"false"), Literal(b"null")


@lru_cache(1)
def any_value() -> tuple[Part, Part]:
    """Any JSON, and any object."""
    value, text = Named(), string()
    thing = object_of(Sequence_(text, COLON, value))
    value.possible = True
    value.part = Either(thing, array_of(value, 0, MANY), text, number(), TRUE, FALSE, NULL)
    return value, thing


def string(low: int = 0, high: int = MANY) -> Part:
    """A string of so many characters."""
    return Sequence_(QUOTE, characters(ALL, True, low, high), QUOTE)


def array_of(item: Part, low: int, high: int) -> Part:
    """So many items."""
    if not high:
        return Literal(b"[]")
    rest = Repeat(Sequence_(COMMA, item), max(low - 1, 0), high if high == MANY else high - 1)
    filled = Sequence_(item, rest)
    return Sequence_(Literal(b"["), filled if low else Repeat(filled, 0, 1), Literal(b"]"))


def object_of(pair: Part) -> Part:
    """Any number of pairs that are alike."""
    return Sequence_(Literal(b"{"), Repeat(Sequence_(pair, Repeat(Sequence_(COMMA, pair), 0, MANY)), 0, 1), Literal(b"}"))


def spelled(value: Any) -> bytes:
    """A value as the grammar writes it, without spaces."""
    if isinstance(value, Decimal):
        return (str(value) if abs(value.adjusted()) < 20 else f"{value:e}").encode()
    if isinstance(value, dict):
        return b"{" + b",".join(spelled(k) + b":" + spelled(v) for k, v in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(spelled, value)) + b"]"
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


def kind_of(value: Any, allowed: Sequence[str]) -> str:
    """The type of a value; a whole number is an integer where that is allowed, else a number."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, Decimal) and value == int(value)):
        return "integer" if "integer" in allowed else "number"
    return {type(None): "null", Decimal: "number", str: "string", list: "array"}.get(type(value), "object")


def same(a: Any, b: Any) -> bool:
    """JSON's equality: 1 is 1.0, true is not 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b
