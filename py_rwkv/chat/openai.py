"""OpenAI's requests made into a ChatRequest for every answer that is wanted. Which fields there are: `chat/fields.py`; what comes back: `chat/replies.py`.

Ours beside the standard, in messages: `reasoning_content`, of an answer: its thought, if it is to stay in the history; `thinking`, the mode it was asked for in
(if absent: the request's where there is a thought, else "none").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from py_rwkv.chat.fields import KNOWN, checked
from py_rwkv.chat.logprobs import MOST
from py_rwkv.chat.templates import End, Layout, Message, Template, stops_of, template_for
from py_rwkv.chat.tools import Tools, call_text, grammar_for, parse_tools, result_text
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Sampling, bad, number

if TYPE_CHECKING:
    from py_rwkv.structured import Grammar

__all__ = ["KNOWN", "ChatRequest", "checked", "layout_of", "parse_choices", "parse_request"]
MAX_TOKENS, MAX_PROMPT_TOKENS = 1024, 65536  # where neither the request nor the defaults say; a state has no limit, patience has
MAX_N, MAX_PROMPTS = 8, 64  # answers to one prompt; prompts of one request
EFFORTS = {"none": "none", "minimal": "none", "low": "short", "medium": "short", "high": "long", "xhigh": "long"}


@dataclass(frozen=True)
class ChatRequest:
    """One answer that is wanted, checked. pieces: texts to encode one by one, or token ids; marks: after how many of them a state is worth keeping, beside the
    end; raw: a continuation of `prompt`, not an answer to messages; logprobs: how many alternatives to tell of each token, None: nothing.

    index: of the choice; prompt: which prompt it answers, of a list; n: how many choices there are for each.
    """

    pieces: tuple[str | tuple[int, ...], ...]
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
    grammar: Grammar | None = None  # what the answer has to be; it ends when that is whole
    processors: tuple[str, ...] | None = None  # of scripts, by name; None: all there are
    sampler: str = ""  # of a script; "default": ours, "": a script's, if it has one
    tools: Tools | None = None  # functions that the answer may call
    index: int = 0
    prompt: int = 0
    legacy: bool = False  # logprobs in the form of /v1/completions
    echo: bool = False  # the prompt comes before its continuation
    include_usage: bool = False


def parse_request(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> ChatRequest:
    """The first of `parse_choices`."""
    return parse_choices(request, defaults)[0]


def parse_choices(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[ChatRequest]:
    """Check a request; what is wanted, choice by choice: `n` for each prompt, the i-th choice with `seed` + i.

    defaults: the model's `template` and, each optional, any sampling field, `stop` and `max_tokens`. None means absent. An answer to messages also ends at the
    model's stop strings (by default the template's); a request can only add to them.
    RwkvErrors: `bad-setting`, `unknown-setting`, `unknown-template`, `empty-prompt`, `bad-schema`, `bad-regex`.
    """
    given = checked(request)
    prompts = prompts_of(given["prompt"]) if "prompt" in given else [()]
    n = int(number("n", given.get("n", 1), 1, MAX_N, True))
    if (best := given.get("best_of", n)) != n:
        raise bad("best_of", "absent or the same as n", best)
    first = _parse(given | ({"prompt": prompts[0]} if "prompt" in given else {}), defaults)
    choices, seed = list[ChatRequest](), first.sampling.seed
    for i in range(n * len(prompts)):
        sampling = replace(first.sampling, seed=None if seed is None else seed + i)
        pieces = first.pieces if i < n else (prompts[i // n],)
        choices.append(replace(first, index=i, prompt=i // n, sampling=sampling, pieces=pieces))
    return choices


def _parse(given: dict[str, Any], defaults: Mapping[str, Any]) -> ChatRequest:
    sampling, stops = Sampling.from_request(defaults, given), stops_of("stop", given.get("stop", ()))
    template, layout = layout_of(given, defaults)
    raw, tools = "prompt" in given, parse_tools(given)
    if not raw:
        own = defaults.get("stop") if "template" not in given else None
        stops = tuple(dict.fromkeys((*(template.stops if own is None else stops_of("stop", own)), *stops)))
    most = next((name for name in ("max_completion_tokens", "max_tokens") if name in given), "max_tokens")
    logprobs, legacy = _logprobs(given, raw)
    if given.get("echo") and logprobs is not None:
        raise bad("echo", "absent where logprobs are asked for: a prompt has none here", True)
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
        logprobs=logprobs,
        state=given.get("state", ""),
        grammar=grammar_for(tools, given.get("response_format")),
        tools=tools,
        legacy=legacy,
        echo=given.get("echo", False),
        include_usage=bool(given.get("stream_options", {}).get("include_usage")),
        processors=_processors(given.get("processors")),
        sampler=given.get("sampler", ""),
    )


def _processors(value: object) -> tuple[str, ...] | None:
    if value is not None and (
        not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(name, str) for name in value)
    ):
        raise bad("processors", "a list of names", value)
    return None if value is None else tuple(value)


def _logprobs(given: Mapping[str, Any], raw: bool) -> tuple[int | None, bool]:
    """(How many alternatives to tell of, None: tell nothing; whether in the form of /v1/completions, whose `logprobs` is a number)."""
    asked = given.get("logprobs", False)
    if raw and not isinstance(asked, bool):
        return int(number("logprobs", asked, 0, MOST, True)), True
    if not isinstance(asked, bool):
        raise bad("logprobs", "true or false", asked)
    tops = int(number("top_logprobs", given.get("top_logprobs", 0), 0, MOST, True))
    return tops if asked else None, False


def prompts_of(value: object) -> list[str | tuple[int, ...]]:
    """The prompts of /v1/completions: a text, a list of texts, token ids, or a list of such lists. RwkvErrors `bad-setting`, `empty-prompt`."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Sequence) and value and all(type(t) is int for t in value):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, bytes) or len(value) > MAX_PROMPTS:
        raise bad("prompt", f"a text, token ids, or a list of at most {MAX_PROMPTS} of them", value)
    prompts: list[str | tuple[int, ...]] = []
    for i, one in enumerate(value):
        if not isinstance(one, str) and (not isinstance(one, Sequence) or not all(type(t) is int for t in one)):
            raise bad(f"prompt[{i}]" if len(value) > 1 else "prompt", "a text or a list of token ids", one)
        if not one:
            raise RwkvError("empty-prompt")
        prompts.append(one if isinstance(one, str) else tuple(one))
    if not prompts:
        raise RwkvError("empty-prompt")
    return prompts


def layout_of(given: Mapping[str, Any], defaults: Mapping[str, Any], end: End = "cue") -> tuple[Template, Layout]:
    """The template of a request (without Nones) and its text in pieces. end: of the last message, unless the request says `continue`."""
    template = template_for(given.get("template", defaults.get("template", "world")))
    if "prompt" not in given:
        end = "open" if given.get("continue") else end
        thinking = given.get("thinking") or _effort(given.get("reasoning_effort"), template)
        return template, template.layout(_messages(given["messages"], thinking, parse_tools(given)), thinking, end)
    [prompt] = prompts_of(given["prompt"] if isinstance(given["prompt"], str) else [given["prompt"]])
    return template, Layout([prompt], 0, 1, "")  # type: ignore[list-item]


def _effort(value: str | None, template: Template) -> str:
    """The mode of thinking that suits an effort; "none" where the template has no such mode."""
    if value is not None and value not in EFFORTS:
        raise bad("reasoning_effort", " or ".join(EFFORTS), value)
    mode = EFFORTS[value or "none"]
    return mode if mode in template.thinking else "none"


def _messages(value: object, thinking: str, tools: Tools | None) -> list[Message]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise bad("messages", "a list", value)
    messages: list[Message] = []
    results: list[str] = []  # of calls, one after the other: they are one turn
    for i, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise bad(f"messages[{i}]", "an object with role and content", message)
        role, thought, mode = message.get("role"), message.get("reasoning_content"), message.get("thinking")
        for name, found in (("reasoning_content", thought), ("thinking", mode)):
            if not isinstance(found, str | None):
                raise bad(f"messages[{i}].{name}", "a text", found)
        calls = message.get("tool_calls") if role == "assistant" else None
        content = message.get("content")
        text = "" if calls and content is None else _content(f"messages[{i}].content", content)
        if role in ("tool", "function"):
            results.append(result_text(text))
            continue
        messages += [Message("user", "\n".join(results))] if results else []
        results = []
        text = call_text(f"messages[{i}].tool_calls", text, calls) if calls else text
        mode = mode or ("none" if thought is None else thinking)
        messages.append(Message("system" if role == "developer" else role, text, thought, mode))  # type: ignore[arg-type]
    messages += [Message("user", "\n".join(results))] if results else []
    if tools and tools.text:
        system = messages.pop(0).text + "\n" if messages and messages[0].role == "system" else ""
        messages.insert(0, Message("system", system + tools.text))
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
