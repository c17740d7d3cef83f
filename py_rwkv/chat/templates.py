"""Prompt templates: messages → pieces of text, each tokenized by itself.

Greedy tokens depend on what follows, so a text cut elsewhere gives other tokens. Pieces end where training cut, which is where generation
starts and stops: `User: …\\n\\nAssistant:` is one, ` …\\n\\n` the next. Then a conversation replayed from its messages gives the very tokens that
were fed while it was held (`conversation.py`). A prompt starts from the zero state without a leading token 0, as most training sequences do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import bad


class Message(NamedTuple):
    """role: "system" | "user" | "assistant"."""

    role: str
    text: str


def clean(text: str) -> str:
    """What all World models expect of a message: `\\n` line ends, no blank lines (they end a turn), no white space around."""
    return re.sub(r"\n{2,}", "\n", text.replace("\r\n", "\n")).strip()


def clean_answer(text: str) -> str:
    """An answer of a model that writes paragraphs: as it was generated."""
    return text.replace("\r\n", "\n").strip()


def verbatim(text: str) -> str:
    """Not cleaned at all."""
    return text


@dataclass(frozen=True)
class Template:
    """`{}` in system, user and answer is the text; `cue` asks for an answer and always ends a piece; `thinking` is what follows the cue, per mode."""

    name: str
    system: str
    user: str
    cue: str
    answer: str
    stops: tuple[str, ...]
    preamble: str = ""
    clean: Callable[[str], str] = clean
    clean_answer: Callable[[str], str] = clean
    thinking: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"none": ""}))

    def pieces(self, messages: Sequence[Message], thinking: str = "none") -> list[str]:
        """Texts to tokenize one by one, the last ending with the cue for the answer.

        RwkvErrors: `bad-setting` for an unknown role or an answer at the end, `empty-prompt` for an empty question.
        """
        if not messages:
            raise RwkvError("empty-prompt")
        for i, message in enumerate(messages):
            if message.role not in ("system", "user", "assistant"):
                raise bad(f"messages[{i}].role", "system, user or assistant", message.role)
        if messages[-1].role == "assistant":
            raise bad(f"messages[{len(messages) - 1}].role", "user (the last message is what to answer)", "assistant")
        if thinking not in self.thinking:
            raise bad("thinking", " or ".join(self.thinking), thinking)
        pieces, asked = [self.preamble] if self.preamble else [], False
        for message, after in zip(messages, [*messages[1:], None], strict=True):
            if message.role == "assistant":
                text = self.clean_answer(message.text)
                pieces += [] if asked else [self.cue]
                pieces.append(self.answer.format(text) if text else self.answer.format("").lstrip(" "))  # stopped before it said anything
                asked = False
                continue
            text, asked = self.clean(message.text), after is None or after.role == "assistant"
            if not text and (message.role == "user" or after is None):
                raise RwkvError("empty-prompt")
            turn = (self.system if message.role == "system" else self.user).format(text) if text else ""
            pieces.append(turn + (self.cue if asked else "") + (self.thinking[thinking] if after is None else ""))
        return [piece for piece in pieces if piece]


WORLD = Template("world", "System: {}\n\n", "User: {}\n\n", "Assistant:", " {}\n\n", stops=("\n\n",))
# G1 answers have paragraphs, so only the next turn ends one.
G1 = Template(
    "g1", "System: {}\n\n", "User: {}\n\n", "Assistant:", " {}\n\n", stops=("\n\nUser:", "\n\nSystem:"), clean_answer=clean_answer
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
    clean_answer=clean_answer,
)
PLAIN = Template("plain", "{}", "{}", "", "{}", stops=(), clean=verbatim, clean_answer=verbatim)

TEMPLATES = {template.name: template for template in (WORLD, G1, RAVEN, INSTRUCT, PLAIN)}


def template_for(name: str) -> Template:
    """The template that a manifest names. `unknown-template` says what exists."""
    if name not in TEMPLATES:
        raise RwkvError("unknown-template", name=str(name), known=", ".join(TEMPLATES))
    return TEMPLATES[name]
