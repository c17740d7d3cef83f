"""Structured output: grammars over bytes that a text has to follow, and masks over a vocabulary that keep it to them (docs/structured.md).

Knows bytes and token ids; no model, no device, no request. What JSON needs is imported when a grammar of it is wanted: the page starts without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_rwkv.structured.grammar import Grammar, Matcher, alternatives, choice, literal, optional, sequence, until
from py_rwkv.structured.regex import regex

__all__ = [
    "Grammar",
    "Matcher",
    "alternatives",
    "choice",
    "json_object",
    "json_schema",
    "literal",
    "optional",
    "regex",
    "sequence",
    "until",
]


def json_object() -> Grammar:
    """Any JSON object."""
    from py_rwkv.structured.schema import any_object

    return any_object()


def json_schema(schema: Mapping[str, Any], name: str = "schema") -> Grammar:
    """JSON that the schema describes. name: of the schema, for messages. RwkvError `bad-schema` names the keyword and where it is."""
    from py_rwkv.structured.schema import compiled

    return compiled(schema, name)
