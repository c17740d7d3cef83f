"""Functions that a model may call, and answers that have a shape: what the prompt says of them, the grammar an answer follows, and calls read out of its text.

Small models were trained on no format of their own, so ours is plain and documented (docs/api.md). At the end of the system message:

    You can call these functions. To call one, answer only with <tool_call>{"name": …, "arguments": {…}}</tool_call>
    {"name":"weather","description":"…","parameters":{…}}

A call in the history is the answer that made it, word by word; what it returned is the next question: `<tool_response>…</tool_response>`. An answer that
begins with the marker is held to the grammar of a call, so what is read is always one of the functions and arguments of its schema.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from py_rwkv.errors import RwkvError
from py_rwkv.lazy import structured
from py_rwkv.runtime.sampling import bad

if TYPE_CHECKING:
    from py_rwkv.structured import Grammar

CALL, END = "<tool_call>", "</tool_call>"
MAX_TOOLS, MAX_CALLS = 128, 8
SAYS = f'You can call these functions. To call one, answer only with {CALL}{{"name": …, "arguments": {{…}}}}{END}'
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True)
class Tools:
    """text: for the system message; called: those that may be called, each with its place in the request; must: an answer has to be calls; several: there may be
    more than one."""

    text: str
    called: tuple[tuple[str, Mapping[str, Any]], ...]
    must: bool
    several: bool


def parse_tools(given: Mapping[str, Any]) -> Tools | None:
    """The functions of a request; None if there are none, or `tool_choice` is "none". RwkvErrors `bad-setting`, `unknown-setting`."""
    tools, chosen = given.get("tools"), given.get("tool_choice")
    if not isinstance(tools, Sequence | None) or isinstance(tools, str) or len(tools or ()) > MAX_TOOLS:
        raise bad("tools", f"a list of at most {MAX_TOOLS} functions", tools)
    functions = [_function(f"tools[{i}]", tool) for i, tool in enumerate(tools or ())]
    names = [f["name"] for f in functions]
    named = _chosen(chosen, names)
    if not functions or chosen == "none":
        return None
    called = tuple((f"tools[{i}].function.parameters", f) for i, f in enumerate(functions) if named in (None, f["name"]))
    lines = [json.dumps({k: v for k, v in f.items() if k != "strict"}, ensure_ascii=False, separators=(",", ":")) for f in functions]
    several = given.get("parallel_tool_calls", True) and named is None
    return Tools("\n".join([SAYS, *lines]), called, named is not None or chosen == "required", several)


def head(name: str) -> str:
    """How a call of this function begins, up to its arguments."""
    return f'{CALL}{{"name":{json.dumps(name)},"arguments":'


def _function(where: str, tool: object) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type", "function") != "function" or not isinstance(tool.get("function"), Mapping):
        raise bad(where, "an object with type function and a function", tool)
    found = tool["function"]
    name, about, parameters = found.get("name"), found.get("description"), found.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise bad(f"{where}.function.name", "1 to 64 letters, digits, _ or -", name)
    if not isinstance(about, str | None):
        raise bad(f"{where}.function.description", "a text", about)
    if not isinstance(parameters, Mapping | None):
        raise bad(f"{where}.function.parameters", "a JSON schema", parameters)
    if not isinstance(found.get("strict"), bool | None):
        raise bad(f"{where}.function.strict", "true or false", found["strict"])
    for key in found:
        if key not in ("name", "description", "parameters", "strict"):
            raise RwkvError("unknown-setting", name=f"{where}.function.{key}"[:80], known="name, description, parameters, strict")
    return {key: value for key, value in found.items() if value is not None}


def _chosen(value: object, names: Sequence[str]) -> str | None:
    """The function that has to be called; None: any, or none."""
    if value in (None, "none", "auto", "required"):
        if value == "required" and not names:
            raise bad("tools", "a list of functions, as tool_choice is required", names)
        return None
    function = value.get("function") if isinstance(value, Mapping) and value.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name is None:
        raise bad("tool_choice", 'none, auto, required, or {"type": "function", "function": {"name": …}}', value)
    if name not in names:
        raise bad("tool_choice.function.name", "the name of one of the tools", name)
    return str(name)


def _arguments(where: str, function: Mapping[str, Any]) -> Grammar:
    """Arguments of a function; any object where its schema says less, or, unless it is `strict`, more than can be held to."""
    schema = function.get("parameters")
    if schema is None or not (schema.get("properties") or schema.get("additionalProperties", True) is False):
        return structured.json_object()
    try:
        return structured.json_schema(schema, function["name"])
    except RwkvError as e:
        if function.get("strict"):
            e.details["param"] = where
            raise
        return structured.json_object()


def shaped(value: Mapping[str, Any] | None) -> Grammar | None:
    """The grammar of a `response_format`; None for plain text. RwkvErrors `bad-setting`, `bad-schema`, `bad-regex`."""
    kind = (value or {}).get("type", "text" if value is None else None)
    if kind not in ("text", "json_object", "json_schema", "regex", "choice"):
        raise bad("response_format.type", "text, json_object, json_schema, regex or choice", kind)
    assert value is not None or kind == "text"
    where = "response_format"
    try:
        if kind == "json_object":
            return structured.json_object()
        if kind == "json_schema":
            where = "response_format.json_schema"
            named = value.get("json_schema")  # type: ignore[union-attr]
            if not isinstance(named, Mapping) or not isinstance(named.get("schema"), Mapping):
                raise bad(f"{where}.schema" if isinstance(named, Mapping) else where, "an object", (named or {}).get("schema"))
            return structured.json_schema(named["schema"])
        if kind == "regex":
            where = "response_format.pattern"
            if not isinstance(pattern := value.get("pattern"), str):  # type: ignore[union-attr]
                raise bad(where, "a regular expression", pattern)
            return structured.regex(pattern)
        if kind == "choice":
            texts = value.get("choices")  # type: ignore[union-attr]
            if not isinstance(texts, Sequence) or isinstance(texts, str) or not texts or not all(isinstance(t, str) and t for t in texts):
                raise bad("response_format.choices", "a list of texts", texts)
            return structured.choice(texts)
    except RwkvError as e:
        if e.code != "bad-setting":  # which names its field
            e.details.setdefault("param", where)
        raise
    return None


def grammar_for(tools: Tools | None, response_format: Mapping[str, Any] | None) -> Grammar | None:
    """What an answer has to be: calls, where there are functions to call, or text of this shape; None: anything.

    RwkvErrors as in `shaped`, and `bad-schema` of a `strict` function.
    The same object for the same request, as a grammar remembers its masks.
    """
    if tools is None and response_format is None:
        return None
    try:
        return _grammar(json.dumps([tools and (tools.called, tools.must, tools.several), response_format]))
    except (TypeError, ValueError) as e:  # natively a request may hold what is no JSON
        raise bad("response_format" if tools is None else "tools", "JSON", str(e)) from None


@lru_cache(64)
def _grammar(text: str) -> Grammar | None:
    asked, response_format = json.loads(text)
    shape = shaped(response_format)
    if asked is None:
        return shape
    called, must, several = asked
    calls = call = structured.alternatives(*(structured.sequence(head(f["name"]), _arguments(where, f), "}" + END) for where, f in called))
    for _ in range(MAX_CALLS - 1 if several else 0):
        calls = structured.sequence(call, structured.alternatives("", structured.sequence("\n", calls)))
    return calls if must else structured.alternatives(calls, shape or structured.regex(unlike(CALL)))


def unlike(marker: str) -> str:
    """A regular expression for every text that begins neither with the marker nor with white space (what templates put there comes first: chat/framing.py)."""
    pattern = ""
    for i, c in reversed(list(enumerate(marker))):
        others, more = re.escape(c) + ("" if i else "\\s"), f"|{re.escape(c)}{pattern}" if pattern else ""
        pattern = f"(?:[^{others}][\\s\\S]*{more})?"
    return pattern


def call_text(where: str, text: str, calls: object) -> str:
    """An answer with calls as the model wrote it."""
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise bad(where, "a list of calls", calls)
    lines = [text] if text else []
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), str):
            raise bad(f"{where}[{i}]", "an object with a function that has a name and arguments", call)
        lines.append(f"{head(function['name'])}{function['arguments'] or '{}'}}}{END}")
    return "\n".join(lines)


def result_text(text: str) -> str:
    """What a function returned, as a question to the model."""
    return f"<tool_response>{text}</tool_response>"


class Calls:
    """Tells calls from text while the answer streams. How it is cut changes nothing."""

    def __init__(self) -> None:
        self.count = 0
        self._at = "start"  # start, text, head (of a call), arguments, end
        self._held = ""
        self._depth, self._quoted, self._escaped = 0, False, False

    def feed(self, text: str, last: bool = False) -> tuple[str, list[dict[str, Any]]]:
        """(text that is certain by now, deltas of `tool_calls`)."""
        self._held += text
        said, deltas = "", list[dict[str, Any]]()
        while True:
            before = self._at, self._held
            if self._at == "start":
                bare = self._held.lstrip()
                if bare.startswith(CALL):
                    self._at, self._held = "head", bare
                elif not CALL.startswith(bare) or (last and bare):
                    self._at = "text"
            elif self._at == "text":
                said, self._held = said + self._held, ""
            elif self._at == "head" and (found := re.match(re.escape(CALL) + r'\{"name":("[a-zA-Z0-9_-]+"),"arguments":', self._held)):
                self._at, self._held = "arguments", self._held[found.end() :]
                function = {"name": json.loads(found[1]), "arguments": ""}
                deltas.append({"index": self.count, "id": "call_" + os.urandom(12).hex(), "type": "function", "function": function})
                self.count += 1
            elif self._at == "arguments" and self._held:
                size = self._scan()
                if size:
                    deltas.append({"index": self.count - 1, "function": {"arguments": self._held[:size]}})
                    self._held = self._held[size:]
            elif self._at == "end" and self._held.startswith("}" + END):
                self._at, self._held = "start", self._held[len(END) + 1 :]
            if before == (self._at, self._held):
                return said, deltas

    def _scan(self) -> int:
        """How much of what is held belongs to the arguments: JSON up to the bracket that closes it."""
        for i, c in enumerate(self._held):
            if self._quoted:
                self._quoted, self._escaped = self._escaped or c != '"', not self._escaped and c == "\\"
            elif c == '"':
                self._quoted = True
            elif c in "{[":
                self._depth += 1
            elif c in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self._at = "end"
                    return i + 1
        return len(self._held)
