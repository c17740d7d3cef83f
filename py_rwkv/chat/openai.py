"""OpenAI's shapes: a request checked into a ChatRequest, and the dictionaries of chunks and completions.

Ours beside the standard, in a request:

    top_k, penalty_decay, ban (token ids)       sampling
    prompt                                      raw text to continue, in place of messages
    template                                    a name, or an object (`chat/templates.py`); the model's own if absent
    thinking                                    a mode of the template; "none" if absent
    continue                                    true: the last message is an assistant's, and its answer goes on; what comes is only the new text
    state                                       the id of a state that the conversation starts from
    max_prompt_tokens                           refuse longer prompts
    messages[].reasoning_content, .thinking     of an answer: its thought, if it is to stay in the history, and the mode it was asked for in (if absent: the
                                                request's where there is a thought, else "none")

In an answer: `reasoning_content` beside `content`, where the model thought; in `logprobs.content` also `id` and `entropy` (`chat/logprobs.py`), for every
token that was drawn, the one that ended the answer too; in the last chunk and in a completion `usage`, `timings`, `seed`, and, when somebody stopped it,
`"cancelled": true` beside the finish_reason "stop" (the standard has no value for it, and clients know "stop").
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from py_rwkv.chat.logprobs import MOST
from py_rwkv.chat.templates import End, Layout, Message, Template, stops_of, template_for
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Finish
from py_rwkv.runtime.sampling import Sampling, bad, number

MAX_TOKENS, MAX_PROMPT_TOKENS = 1024, 65536  # where neither the request nor the defaults say; a state has no limit, patience has
_SAMPLING = tuple(f.name for f in fields(Sampling))
_OTHERS = "messages prompt model stream stream_options n user stop max_tokens max_completion_tokens max_prompt_tokens".split()
_OURS = "template thinking continue state logprobs top_logprobs".split()
KNOWN = (*_OTHERS, *_OURS, *_SAMPLING)
_TEXT, _BOOL = (str, "a text"), (bool, "true or false")
_TYPES: dict[str, tuple[type, str]] = dict.fromkeys(("model", "user", "prompt", "thinking", "state"), _TEXT)
_TYPES |= dict.fromkeys(("stream", "continue", "logprobs"), _BOOL) | {"stream_options": (Mapping, "an object")}


@dataclass(frozen=True)
class ChatRequest:
    """A request that was checked. pieces: texts to encode one by one; marks: after how many of them a state is worth keeping, beside the end; raw: a
    continuation of `prompt`, not an answer to messages; logprobs: how many alternatives to tell of each token, None: nothing."""

    pieces: tuple[str, ...]
    marks: tuple[int, ...]
    sampling: Sampling
    stops: tuple[str, ...]
    max_tokens: int
    max_prompt_tokens: int
    stream: bool
    raw: bool
    strip: bool  # the template puts white space before an answer, which is not part of it
    thinks: bool  # an answer may begin with a thought
    before: str  # how the answer begins in the prompt already
    logprobs: int | None
    state: str


def checked(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None, their names and types checked. RwkvErrors `bad-setting`, `unknown-setting`."""
    if not isinstance(request, Mapping):
        raise bad("the request", "an object", request)
    for name in request:
        if name not in KNOWN:
            raise RwkvError("unknown-setting", name=str(name)[:80], known=", ".join(KNOWN))
    given = {name: value for name, value in request.items() if value is not None}
    if ("messages" in given) == ("prompt" in given):
        raise bad("the request", "one that has either messages or prompt", "both" if "prompt" in given else "neither")
    number("n", given.get("n", 1), 1, 1, True)
    for name, (kind, expected) in _TYPES.items():
        if name in given and not isinstance(given[name], kind):
            raise bad(name, expected, given[name])
    return given


def parse_request(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> ChatRequest:
    """Check a request. defaults: the model's `template` and, each optional, any sampling field, `stop` and `max_tokens`. None means absent.

    An answer to messages also ends at the model's stop strings (by default the template's); a request can only add to them.
    RwkvErrors: `bad-setting`, `unknown-setting`, `unknown-template`, `empty-prompt`.
    """
    given = checked(request)
    sampling, stops = Sampling.from_request(defaults, given), stops_of("stop", given.get("stop", ()))
    template, layout = layout_of(given, defaults)
    raw = "prompt" in given
    if not raw:
        own = defaults.get("stop") if "template" not in given else None
        stops = tuple(dict.fromkeys((*(template.stops if own is None else stops_of("stop", own)), *stops)))
    tops = number("top_logprobs", given.get("top_logprobs", 0), 0, MOST, True)
    most = next((name for name in ("max_completion_tokens", "max_tokens") if name in given), "max_tokens")
    return ChatRequest(
        pieces=tuple(layout.pieces),
        marks=tuple(dict.fromkeys((layout.head, layout.cue))),
        sampling=sampling,
        stops=stops,
        max_tokens=int(number(most, given.get(most, defaults.get("max_tokens") or MAX_TOKENS), 1, 1 << 24, True)),
        max_prompt_tokens=int(number("max_prompt_tokens", given.get("max_prompt_tokens", MAX_PROMPT_TOKENS), 1, 1 << 24, True)),
        stream=given.get("stream", False),
        raw=raw,
        strip=not raw and template.answer.startswith(" "),
        thinks=not raw and template.thinks,
        before=layout.before,
        logprobs=int(tops) if given.get("logprobs") else None,
        state=given.get("state", ""),
    )


def layout_of(given: Mapping[str, Any], defaults: Mapping[str, Any], end: End = "cue") -> tuple[Template, Layout]:
    """The template of a request (without Nones) and its text in pieces. end: of the last message, unless the request says `continue`."""
    template = template_for(given.get("template", defaults.get("template", "world")))
    if "prompt" not in given:
        end = "open" if given.get("continue") else end
        thinking = given.get("thinking", "none")
        return template, template.layout(_messages(given["messages"], thinking), thinking, end)
    if not given["prompt"]:
        raise RwkvError("empty-prompt")
    return template, Layout([given["prompt"]], 0, 1, "")


def _messages(value: object, thinking: str) -> list[Message]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise bad("messages", "a list", value)
    messages = []
    for i, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise bad(f"messages[{i}]", "an object with role and content", message)
        role, thought, mode = message.get("role"), message.get("reasoning_content"), message.get("thinking")
        for name, value in (("reasoning_content", thought), ("thinking", mode)):
            if not isinstance(value, str | None):
                raise bad(f"messages[{i}].{name}", "a text", value)
        text = _content(f"messages[{i}].content", message.get("content"))
        mode = mode or ("none" if thought is None else thinking)
        messages.append(Message("system" if role == "developer" else role, text, thought, mode))  # type: ignore[arg-type]
    return messages


def _content(name: str, value: object) -> str:
    """A text, or OpenAI's list of parts of which all are texts."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, Sequence) else [None]
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise bad(name, "a text", value)
    return "".join(map(str, texts))


@dataclass(frozen=True)
class Reply:
    """Builds the dictionaries of one answer: they share id, creation time and model."""

    model: str
    raw: bool
    id: str
    created: int  # Unix time

    @classmethod
    def to(cls, request: ChatRequest, model: str) -> Reply:
        """A reply with a fresh id."""
        return cls(model, request.raw, ("cmpl-" if request.raw else "chatcmpl-") + os.urandom(12).hex(), int(time.time()))

    def opening(self) -> dict[str, Any]:
        """The chunk that says who speaks."""
        return self.chunk("") if self.raw else self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, text: str, thought: str = "", logprobs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """A chunk with text, of the answer or of a thought or of both."""
        delta = ({"reasoning_content": thought} if thought else {}) | ({"content": text} if text or not thought else {})
        return self._chunk(delta, None, logprobs)

    def closing(self, finish: Finish, cached: int) -> dict[str, Any]:
        """The last chunk. cached: prompt tokens that the state held already."""
        return self._chunk({}, _reason(finish)) | _extras(finish, cached)

    def completion(
        self, text: str, finish: Finish, cached: int, thought: str | None = None, logprobs: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The whole answer at once."""
        message = {"role": "assistant", "content": text} | ({} if thought is None else {"reasoning_content": thought})
        choice: dict[str, Any] = {"text": text} if self.raw else {"message": message}
        return self._outer("", {"index": 0, **choice, "logprobs": _content_of(logprobs), "finish_reason": _reason(finish)}) | _extras(
            finish, cached
        )

    def _chunk(self, delta: dict[str, str], reason: str | None, logprobs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"text": delta.get("content", "")} if self.raw else {"delta": delta}
        return self._outer(".chunk", {"index": 0, **choice, "logprobs": _content_of(logprobs), "finish_reason": reason})

    def _outer(self, suffix: str, choice: dict[str, Any]) -> dict[str, Any]:
        kind = "text_completion" if self.raw else "chat.completion" + suffix
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": [choice]}


def _content_of(logprobs: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    return None if logprobs is None else {"content": logprobs}


def _reason(finish: Finish) -> str:
    return "length" if finish.reason == "length" else "stop"


def _extras(finish: Finish, cached: int) -> dict[str, Any]:
    prompt, steps = cached + finish.prompt_tokens, max(finish.completion_tokens - 1, 0)
    extras: dict[str, Any] = {
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": finish.completion_tokens,
            "total_tokens": prompt + finish.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
        "timings": {
            "prefill_seconds": finish.prefill_seconds,
            "decode_seconds": finish.decode_seconds,
            "prefill_tokens_per_second": _rate(finish.prompt_tokens, finish.prefill_seconds),
            "decode_tokens_per_second": _rate(steps, finish.decode_seconds),  # the first token comes out of the prefill
        },
        "seed": finish.seed,
    }
    return extras | ({"cancelled": True} if finish.reason == "cancelled" else {})


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
