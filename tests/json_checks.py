"""Does JSON satisfy a schema? Written from the JSON schema standard for the keywords of docs/structured.md, without a look at our grammars."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

TYPES: dict[str, Any] = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "number": lambda v: isinstance(v, int | Decimal) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int | Decimal) and not isinstance(v, bool) and v == int(v),
}
HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
DURATION = re.compile(r"P(?=.)(\d+W|(\d+Y(\d+M(\d+D)?)?|\d+M(\d+D)?|\d+D)?(T(?=.)(\d+H(\d+M(\d+S)?)?|\d+M(\d+S)?|\d+S))?)")


def parse(text: str | bytes) -> Any:
    """JSON with exact numbers; ValueError for what is none, NaN included."""

    def constant(name: str) -> Any:
        raise ValueError(name)

    if isinstance(text, bytes):
        text = text.decode("utf-8")
    value = json.loads(text, parse_float=Decimal, parse_constant=constant)
    json.dumps(value, default=str, ensure_ascii=False).encode("utf-8")  # no half surrogate pairs
    return value


def valid(value: Any, schema: Any, root: Any = None) -> bool:
    """Whether a value of `parse` satisfies a schema, which is of `parse`, too."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    kinds = schema.get("type", list(TYPES))
    if not any(TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "$ref" in schema:
        target = root
        for step in unquote(schema["$ref"]).split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        if not valid(value, target, root):
            return False
    if "anyOf" in schema and not any(valid(value, way, root) for way in schema["anyOf"]):
        return False
    if "enum" in schema and not any(same(value, v) for v in schema["enum"]):
        return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    if isinstance(value, str):
        return valid_text(value, schema)
    if TYPES["number"](value):
        return valid_number(Decimal(value), {k: Decimal(v) for k, v in schema.items() if TYPES["number"](v)})
    if isinstance(value, list):
        few = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return few and all(valid(item, schema.get("items", True), root) for item in value)
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        return set(schema.get("required", ())) <= set(value) and all(valid(v, properties.get(k, more), root) for k, v in value.items())
    return True


def valid_text(value: str, schema: Any) -> bool:
    sized = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return sized and bool(re.search(schema.get("pattern", ""), value, re.A)) and formatted(value, schema.get("format"))


def valid_number(value: Decimal, rules: dict[str, Decimal]) -> bool:
    within = rules.get("minimum", value) <= value <= rules.get("maximum", value)
    apart = not ("exclusiveMinimum" in rules and value <= rules["exclusiveMinimum"]) and not (
        "exclusiveMaximum" in rules and value >= rules["exclusiveMaximum"]
    )
    return within and apart and ("multipleOf" not in rules or value % rules["multipleOf"] == 0)


def formatted(value: str, name: str | None) -> bool:
    """Whether a text has a format."""
    try:
        match name:
            case "date":
                return len(value) == 10 and bool(date.fromisoformat(value))
            case "time":
                return bool(re.match(r"\d\d:\d\d:\d\d", value)) and time.fromisoformat(_six(value)).tzinfo is not None
            case "date-time":
                return (
                    value[10] == "T"
                    and formatted(value[:10], "date")
                    and formatted(value[11:], "time")
                    and bool(datetime.fromisoformat(_six(value)))
                )
            case "duration":
                return bool(DURATION.fullmatch(value))
            case "email":
                before, at, host = value.partition("@")
                return bool(at and re.fullmatch(r"[\w.+-]{1,100}", before, re.A)) and ".." not in before and formatted(host, "hostname")
            case "hostname":
                return bool(HOST.fullmatch(value))
            case "ipv4":
                return ipaddress.IPv4Address(value) is not None
            case "ipv6":
                return ipaddress.IPv6Address(value) is not None
            case "uuid":
                return len(value) == 36 and bool(uuid.UUID(value))
    except (ValueError, IndexError):
        return False
    return True


def _six(value: str) -> str:
    """Six digits behind the second's point: what Python 3.10 reads, too."""
    return re.sub(r"(\.\d{1,6})\d*", lambda m: m[1].ljust(7, "0"), value)


def same(a: Any, b: Any) -> bool:
    """JSON's equality."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and a == b
