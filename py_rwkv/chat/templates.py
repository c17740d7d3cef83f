"""Prompt templates: messages → pieces of text, each tokenized by itself.

Greedy tokens depend on what follows, so a text cut elsewhere gives other tokens. Pieces end where training cut, which is where generation
starts and stops: `User: …\\n\\nAssistant:` is one, ` …\\n\\n` the next. Then a conversation replayed from its messages gives the very tokens that
were fed while it was held (`conversation.py`). A prompt starts from the zero state without a leading token 0, as most training sequences do.

Thinking (RWKV-7 G1): the cue is followed by ` <think`, a piece of its own, so that the state before it can be kept: an answer's thought leaves the history
by going back to that state, and stays in it where a message brings its `reasoning` along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import bad

OPEN, CLOSE = "<think>", "</think>"
MAX_PATTERN, MAX_MODES, MAX_STOPS, MAX_STOP = 20_000, 8, 16, 200
End = Literal["cue", "open", "closed", "read"]  # of the last message: to be answered; an answer to continue; an answer; whatever it is


class Message(NamedTuple):
    """role: "system" | "user" | "assistant". Of an answer: `reasoning` is the thought to keep before it (None: there is none), `thinking` the mode it was
    asked for in."""

    role: str
    text: str
    reasoning: str | None = None
    thinking: str = "none"


class Mode(NamedTuple):
    """A way to think: what follows the question, and what follows the cue."""

    user: str = ""
    cue: str = ""


class Layout(NamedTuple):
    """Pieces to tokenize one by one; how many of them come before the first turn, and how many up to the last cue. `before`: what the answer begins with."""

    pieces: list[str]
    head: int
    cue: int
    before: str


def lines(text: str) -> str:
    """What all World models expect of a message: `\\n` line ends, no blank lines (they end a turn), no white space around."""
    return re.sub(r"\n{2,}", "\n", text.replace("\r\n", "\n")).strip()


def paragraphs(text: str) -> str:
    """An answer of a model that writes paragraphs: as it was generated."""
    return text.replace("\r\n", "\n").strip()


def verbatim(text: str) -> str:
    """Not cleaned at all."""
    return text


CLEANING = {"lines": lines, "paragraphs": paragraphs, "verbatim": verbatim}
PLAINLY: Mapping[str, Mode] = MappingProxyType({"none": Mode()})


@dataclass(frozen=True)
class Template:
    """`{}` in system, user and answer is the text; `cue` asks for an answer and always ends a piece; `clean`, `clean_answer`: names of CLEANING."""

    name: str
    system: str
    user: str
    cue: str
    answer: str
    stops: tuple[str, ...]
    preamble: str = ""
    clean: str = "lines"
    clean_answer: str = "lines"
    thinking: Mapping[str, Mode] = field(default_factory=lambda: PLAINLY)

    @property
    def thinks(self) -> bool:
        """Whether answers may begin with a thought."""
        return any(mode.cue for mode in self.thinking.values())

    def pieces(self, messages: Sequence[Message], thinking: str = "none", end: End = "cue") -> list[str]:
        """The pieces of `layout`."""
        return self.layout(messages, thinking, end).pieces

    def layout(self, messages: Sequence[Message], thinking: str = "none", end: End = "cue") -> Layout:
        """Messages as pieces, the last ending with the cue for the answer (and the beginning of a thought), or with an answer.

        RwkvErrors: `bad-setting` for an unknown role or mode, or a last message that `end` does not fit; `empty-prompt` for an empty question.
        """
        if end == "read" and messages:
            end = "closed" if messages[-1].role == "assistant" else "cue"
        self._check(messages, thinking, end)
        pieces: list[str] = []
        before, asked = "", False
        cue = head = len(self._add(pieces, self.preamble))
        for i, message in enumerate(messages):
            after = messages[i + 1] if i + 1 < len(messages) else None
            if message.role == "assistant":
                cue = len(pieces) if asked else len(self._add(pieces, self.cue))
                answer = self._answer(message, thinking, whole=after is not None or end != "open")
                before = "".join(answer)
                self._add(pieces, *answer)
                asked = False
                continue
            text = CLEANING[self.clean](message.text)
            asked = after.role == "assistant" if after else end == "cue"
            if not text and (message.role == "user" or after is None):
                raise RwkvError("empty-prompt")
            if message.role == "user":
                mode = (after.thinking if end != "open" or i + 2 < len(messages) else thinking) if after and asked else thinking
                text += self.thinking.get(mode, Mode()).user if asked else ""
            turn = (self.system if message.role == "system" else self.user).replace("{}", text) if text else ""
            self._add(pieces, turn + (self.cue if asked else ""))
            cue = len(pieces)
            head = cue if message.role == "system" and head == cue - 1 and not asked else head
            if after is None and end == "cue":
                before = self.thinking[thinking].cue
                self._add(pieces, before)
        return Layout(pieces, head, cue, before)

    @staticmethod
    def _add(pieces: list[str], *texts: str) -> list[str]:
        pieces.extend(text for text in texts if text)
        return pieces

    def _answer(self, message: Message, thinking: str, whole: bool) -> list[str]:
        """The pieces of an answer: all of it, or as far as it has come."""
        first, _, last = self.answer.partition("{}")
        text = CLEANING[self.clean_answer](message.text)
        if not whole:  # as it stands, but for a character that was cut off, and a space that the tokens of the next word begin with
            text = message.text.replace("\r\n", "\n").rstrip("\ufffd")
            text, last = text.lstrip() if first else text, ""
        if message.reasoning is not None:
            thought = message.reasoning.replace("\r\n", "\n").rstrip("" if whole else "\ufffd")
            if whole or text:
                return (
                    [first + OPEN[:-1], f">{thought}{CLOSE}\n{text}{last}"] if thought else [first + OPEN + CLOSE[:-1], f">\n{text}{last}"]
                )
            return [first + OPEN[:-1], ">" + thought]
        if not text:
            return [last] if whole else [self.thinking[thinking].cue]  # stopped before it said anything
        return [first + text + last]

    def _check(self, messages: Sequence[Message], thinking: str, end: End) -> None:
        if not messages:
            raise RwkvError("empty-prompt")
        for i, message in enumerate(messages):
            if message.role not in ("system", "user", "assistant"):
                raise bad(f"messages[{i}].role", "system, user or assistant", message.role)
        role, name = messages[-1].role, f"messages[{len(messages) - 1}].role"
        if end == "cue" and role == "assistant":
            raise bad(name, "user (the last message is what to answer; `continue` goes on with an answer)", role)
        if end == "open" and role != "assistant":
            raise bad(name, "assistant (the last message is the answer to continue)", role)
        if thinking not in self.thinking:
            raise bad("thinking", " or ".join(self.thinking), thinking)

    def to_json(self) -> dict[str, Any]:
        """The template as a request may bring it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"stops": list(self.stops), "thinking": {name: mode._asdict() for name, mode in self.thinking.items()}}


WORLD = Template("world", "System: {}\n\n", "User: {}\n\n", "Assistant:", " {}\n\n", stops=("\n\n",))
# G1 answers have paragraphs, so only the next turn ends one.
G1 = Template(
    "g1",
    "System: {}\n\n",
    "User: {}\n\n",
    "Assistant:",
    " {}\n\n",
    stops=("\n\nUser:", "\n\nSystem:"),
    clean_answer="paragraphs",
    thinking=MappingProxyType({"none": Mode(), "short": Mode(" (think a bit)", " <think"), "long": Mode(" (think a lot)", " <think")}),
)
# From G1h on (July 2026). Without a thought they want an empty one.
G1H = Template(
    "g1h",
    "System✿{}✿\n",
    "User✿{}✿\n",
    "Bot✿",
    "{}✿\n",
    stops=("✿",),
    clean_answer="paragraphs",
    thinking=MappingProxyType({"none": Mode(cue="<think></think"), "long": Mode(cue="<think")}),
)
RAVEN = Template("raven", "{}\n\n", "Bob: {}\n\n", "Alice:", " {}\n\n", stops=("\n\n",))
INSTRUCT = Template(
    "raven-instruct",
    system="{}\n\n",
    user="# Instruction:\n{}\n\n",
    cue="# Response:\n",
    answer="{}\n\n",
    stops=("\n\n# Instruction:",),
    preamble="Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n",
    clean_answer="paragraphs",
)
PLAIN = Template("plain", "{}", "{}", "", "{}", stops=(), clean="verbatim", clean_answer="verbatim")

TEMPLATES = {template.name: template for template in (WORLD, G1, G1H, RAVEN, INSTRUCT, PLAIN)}


def template_for(value: str | Mapping[str, Any]) -> Template:
    """The template of this name, or one that somebody wrote (the keys of `Template`). `unknown-template` says what exists, `bad-setting` what is wrong."""
    if isinstance(value, Mapping):
        return _written(value)
    if not isinstance(value, str) or value not in TEMPLATES:
        raise RwkvError("unknown-template", name=str(value)[:80], known=", ".join(TEMPLATES))
    return TEMPLATES[value]


def _written(value: Mapping[str, Any]) -> Template:
    known = [f.name for f in fields(Template)]
    for name in value:
        if name not in known:
            raise RwkvError("unknown-setting", name=f"template.{name}"[:80], known=", ".join(known))
    given = {name: v for name, v in value.items() if v is not None}
    texts = {name: _text(f"template.{name}", given.get(name, "")) for name in ("name", "preamble", "system", "user", "cue", "answer")}
    texts["name"], texts["system"] = texts["name"] or "custom", texts["system"] or "{}\n\n"
    for name in ("system", "user", "answer"):
        if texts[name].count("{}") != 1:
            raise bad(f"template.{name}", "a text with {} where the message goes", texts[name])
    for name in ("clean", "clean_answer"):
        texts[name] = given.get(name, "paragraphs")
        if texts[name] not in CLEANING:
            raise bad(f"template.{name}", " or ".join(CLEANING), texts[name])
    return Template(**texts, stops=stops_of("template.stops", given.get("stops", ())), thinking=_modes(given.get("thinking", {})))


def _modes(value: object) -> Mapping[str, Mode]:
    """{mode: what follows the cue, or {user, cue}}; `none` is always there."""
    if not isinstance(value, Mapping) or len(value) > MAX_MODES:
        raise bad("template.thinking", f"an object of at most {MAX_MODES} modes", value)
    modes = dict(PLAINLY)
    for name, mode in value.items():
        where = f"template.thinking.{str(name)[:40]}"
        parts = {"cue": mode} if isinstance(mode, str) else mode
        if not isinstance(parts, Mapping) or not set(parts) <= set(Mode._fields):
            raise bad(where, "a text, or an object with user and cue", mode)
        modes[str(name)] = Mode(**{part: _text(f"{where}.{part}", text) for part, text in parts.items()})
    return MappingProxyType(modes)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_PATTERN:
        raise bad(name, f"a text of at most {MAX_PATTERN} characters", value)
    return value


def stops_of(name: str, value: object) -> tuple[str, ...]:
    """Stop strings as a person wrote them: one, or a list. `bad-setting`."""
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, Sequence) or len(stops) > MAX_STOPS or not all(isinstance(s, str) and 0 < len(s) <= MAX_STOP for s in stops):
        raise bad(name, f"a text or at most {MAX_STOPS} texts, each of 1 to {MAX_STOP} characters", value)
    return tuple(stops)
