"""Every field that a request may have: its kind, where it belongs, and what it does. docs/api.md is made of this table (build_scripts/make_api_docs.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import bad

KINDS: dict[str, tuple[type, str]] = {"text": (str, "a text"), "bool": (bool, "true or false"), "object": (Mapping, "an object")}


class Field(NamedTuple):
    """kind: one of KINDS is checked with the names, others where they are read; endpoint: "chat", "completions" or "" for both; ours: not of the standard."""

    kind: str
    what: str
    endpoint: str = ""
    ours: bool = False


FIELDS = {
    "model": Field("text", "The loaded model: its name, or what it was loaded as; over HTTP another one is refused."),
    "messages": Field("list", "The conversation: roles `system`, `developer`, `user`, `assistant`, `tool`; contents are texts.", "chat"),
    "prompt": Field(
        "text or token ids, or a list",
        "Raw text to go on with, as it is; at most 64 prompts. In `engine.chat.completions`, too, in place of `messages`.",
        "completions",
    ),
    "stream": Field("bool", "Chunks as they come."),
    "stream_options": Field(
        "object", "`include_usage`: `usage` comes in a last chunk of its own, without choices; else the last choice's last chunk has it."
    ),
    "n": Field("1 to 8", "Answers to the same prompt, which is read once. They advance together, as many at a time as `parallel` says."),
    "seed": Field(
        "whole number",
        "The same seed and request give the same text. The i-th choice has `seed` + i. Random if absent; the answer tells it.",
    ),
    "max_tokens": Field("whole number", "The answer's greatest length."),
    "max_completion_tokens": Field("whole number", "The same."),
    "stop": Field(
        "text or list",
        "The answer ends before any of these texts: at most 16, of at most 200 characters. The model's own stop texts are added.",
    ),
    "temperature": Field("0 to 10", "0: the best token. Works after `top_p`, as RWKV models are used to."),
    "top_p": Field("0 to 1", "Only of the best tokens whose probabilities reach this sum."),
    "presence_penalty": Field("−10 to 10", "Taken from the logits of what was written."),
    "frequency_penalty": Field("−10 to 10", "The same, for every time it was written."),
    "logit_bias": Field(
        "{token id: −100 to 100}", "Added to logits; −100 bans. Positive ones fetch all logits of every token: slower. At most 1024."
    ),
    "logprobs": Field("bool (completions: a number)", "What each token competed with; for completions in their older form."),
    "top_logprobs": Field("0 to 20", "How many alternatives to tell of each token.", "chat"),
    "response_format": Field(
        "object", '`text`, `json_object`, `json_schema`; ours: `{type: "regex", pattern}`, `{type: "choice", choices: [text, …]}`. Below.'
    ),
    "tools": Field("list", "Functions that the model may call: at most 128. Below.", "chat"),
    "tool_choice": Field("`none`, `auto`, `required`, or a function", "Whether it may, has to, or which.", "chat"),
    "parallel_tool_calls": Field("bool", "false: at most one call in an answer; else up to 8.", "chat"),
    "reasoning_effort": Field(
        "text",
        "`none`, `minimal`, `low`, `medium`, `high` or `xhigh`: the mode of `thinking` that comes nearest, where the template has one.",
        "chat",
    ),
    "echo": Field("bool", "The prompt comes before its continuation.", "completions"),
    "best_of": Field("whole number", "Only the same as `n`.", "completions"),
    "user": Field("text", "Does nothing."),
    **dict.fromkeys(
        "metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention prediction verbosity".split(),
        Field("anything", "Does nothing."),
    ),
    "modalities": Field('["text"]', "Nothing else is to be had.", "chat"),
    "top_k": Field("whole number", "Only of so many best tokens; 0: all.", ours=True),
    "penalty_decay": Field("0 to 1", "What counts for the penalties fades by this factor with every token.", ours=True),
    "ban": Field("token ids", "Never written; at most 128.", ours=True),
    "template": Field("text or object", "How messages become text; the model's own if absent (docs/guide.md).", ours=True),
    "thinking": Field(
        "text", "A mode of the template: `none`, `short`, `long` for G1. A thought comes as `reasoning_content`.", "chat", True
    ),
    "continue": Field("bool", "The last message is an answer, and it goes on; what comes is the new text only.", "chat", True),
    "state": Field("text", "The id of a state that the conversation begins from (docs/states.md).", ours=True),
    "processors": Field("list", "Which of a script's take part, by name; all if absent (docs/hooks.md).", ours=True),
    "sampler": Field("text", "A script's, by name; `default`: ours.", ours=True),
    "max_prompt_tokens": Field("whole number", "Longer prompts are refused; 65536 if absent.", ours=True),
}
KNOWN = tuple(FIELDS)


def checked(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None, their names and types checked. RwkvErrors `bad-setting`, `unknown-setting`."""
    if not isinstance(request, Mapping):
        raise bad("the request", "an object", request)
    given = {name: value for name, value in request.items() if value is not None}
    other = "chat" if "prompt" in given else "completions"
    usable = [
        name for name, field in FIELDS.items() if field.endpoint != other or name in ("messages", "prompt", "thinking", "top_logprobs")
    ]
    for name in request:
        if name not in FIELDS or (name in given and name not in usable):
            raise RwkvError("unknown-setting", name=str(name)[:80], known=", ".join(usable))
    if ("messages" in given) == ("prompt" in given):
        raise bad("the request", "one that has either messages or prompt", "both" if "prompt" in given else "neither")
    for name, value in given.items():
        kind, expected = KINDS.get(FIELDS[name].kind, (object, ""))
        if not isinstance(value, kind):
            raise bad(name, expected, value)
    for name, value in given.get("stream_options", {}).items():
        if name not in ("include_usage", "include_obfuscation"):
            raise RwkvError("unknown-setting", name=f"stream_options.{name}"[:80], known="include_usage, include_obfuscation")
        if not isinstance(value, bool | None):
            raise bad(f"stream_options.{name}", "true or false", value)
    if given.get("modalities", ["text"]) != ["text"]:
        raise bad("modalities", 'absent or ["text"]', given["modalities"])
    return given
