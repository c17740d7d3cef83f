"""OpenAI's answers: what came of every choice, as the dictionaries of chunks or of a completion.

Ours beside the standard: `reasoning_content` beside `content`, where the model thought; in `logprobs.content` also `id` and `entropy` (`chat/logprobs.py`), for
every token that was drawn, the one that ended the answer too; and at the end `usage`, `timings`, `seed` (of the first choice), and, when somebody stopped it,
`"cancelled": true` beside the finish_reason "stop" (the standard has no value for it, and clients know "stop"). In a stream these are in the last chunk: that
of `stream_options.include_usage`, which has no choices, or, where nobody asked for that one, the chunk that ends the last choice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from py_rwkv.chat.openai import ChatRequest
from py_rwkv.runtime.generate import Finish


@dataclass(frozen=True)
class Part:
    """What came: text of the thought, text of the answer, deltas of `tool_calls`, and what is to be said of the tokens."""

    thought: str = ""
    text: str = ""
    logprobs: list[dict[str, Any]] | None = None
    calls: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Ended:
    """The end of a choice. cached: prompt tokens that the state held already; thought: whether there was one, if only an empty one; calls: how many."""

    finish: Finish
    cached: int
    thought: bool = False
    calls: int = 0

    @property
    def reason(self) -> str:
        """OpenAI's finish_reason."""
        return {"length": "length", "stop": "tool_calls" if self.calls else "stop"}.get(self.finish.reason, "stop")


Event = Part | Ended


@dataclass
class _Choice:
    """One choice as far as it has come."""

    request: ChatRequest
    text: str = ""
    thought: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    ended: Ended | None = None

    def take(self, part: Part) -> None:
        self.text += part.text
        self.thought += part.thought
        self.logprobs += part.logprobs or []
        for delta in part.calls:
            if "id" in delta:
                self.calls.append({"id": delta["id"], "type": "function", "function": dict(delta["function"])})
            else:
                self.calls[delta["index"]]["function"]["arguments"] += delta["function"]["arguments"]

    def message(self) -> dict[str, Any]:
        told = {"reasoning_content": self.thought} if self.ended and self.ended.thought else {}
        calls = {"tool_calls": self.calls} if self.calls else {}
        return {"role": "assistant", "content": self.text if self.text or not calls else None} | told | calls


class Reply:
    """Builds the dictionaries of one answer: they share id, creation time and model. Takes events in any order of the choices, each choice's in its own."""

    def __init__(self, requests: Sequence[ChatRequest], model: str) -> None:
        """requests: the choices, by their index."""
        first = requests[0]
        self.model, self.raw, self.legacy, self.include_usage = model, first.raw, first.legacy, first.include_usage
        self.id = ("cmpl-" if self.raw else "chatcmpl-") + os.urandom(12).hex()
        self.created = int(time.time())  # Unix time
        self.choices = [_Choice(request) for request in requests]
        self._begun: set[int] = set()

    def chunks(self, index: int, event: Event) -> list[dict[str, Any]]:
        """What to send of an event."""
        choice, chunks = self.choices[index], list[dict[str, Any]]()
        if index not in self._begun:
            self._begun.add(index)
            chunks.append(self._chunk(index, {"content": ""} if self.raw else {"role": "assistant", "content": ""}))
        if event == Part():  # it begins
            return chunks
        if isinstance(event, Part):
            delta: dict[str, Any] = {"reasoning_content": event.thought} if event.thought else {}
            delta |= {"content": event.text} if event.text or not (event.thought or event.calls) else {}
            delta |= {"tool_calls": list(event.calls)} if event.calls else {}
            chunks.append(self._chunk(index, delta, None, event.logprobs))
            if self.legacy:  # where the next text is
                choice.text += event.text
            return chunks
        choice.ended = event
        done = all(c.ended for c in self.choices)
        extras = self._extras() if done else {}
        chunks.append(self._chunk(index, {}, event.reason) | (extras if not self.include_usage else {}))
        if done and self.include_usage:
            chunks.append(self._outer(".chunk", []) | extras)
        return chunks

    def take(self, index: int, event: Event) -> None:
        """Note an event for `completion`."""
        if isinstance(event, Part):
            self.choices[index].take(event)
        else:
            self.choices[index].ended = event

    def completion(self) -> dict[str, Any]:
        """The whole answer at once, when all choices have ended."""
        found = []
        for i, choice in enumerate(self.choices):
            assert choice.ended is not None
            logprobs = choice.logprobs if choice.request.logprobs is not None else None
            said: dict[str, Any] = {"text": choice.text} if self.raw else {"message": choice.message()}
            found.append({"index": i, **said, "logprobs": self._logprobs(logprobs, 0), "finish_reason": choice.ended.reason})
        return self._outer("", found) | self._extras()

    def _chunk(
        self, index: int, delta: dict[str, Any], reason: str | None = None, logprobs: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        said: dict[str, Any] = {"text": delta.get("content", "")} if self.raw else {"delta": delta}
        told = self._logprobs(logprobs, len(self.choices[index].text))
        chunk = self._outer(".chunk", [{"index": index, **said, "logprobs": told, "finish_reason": reason}])
        return chunk | ({"usage": None} if self.include_usage else {})

    def _outer(self, suffix: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "text_completion" if self.raw else "chat.completion" + suffix
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}

    def _logprobs(self, entries: list[dict[str, Any]] | None, offset: int) -> dict[str, Any] | None:
        if entries is None:
            return None
        return legacy_logprobs(entries, offset) if self.legacy else {"content": entries}

    def _extras(self) -> dict[str, Any]:
        """Of all choices: a prompt counts once, however many choices it has."""
        ended = [(c.request.prompt, c.ended) for c in self.choices if c.ended]
        firsts = list(dict(reversed(ended)).values())
        cached, read = sum(e.cached for e in firsts), sum(e.finish.prompt_tokens for e in firsts)
        written = sum(e.finish.completion_tokens for _, e in ended)
        prefill = sum(e.finish.prefill_seconds for e in firsts)
        decode = max(e.finish.decode_seconds for _, e in ended)  # they advance together
        steps = sum(max(e.finish.completion_tokens - 1, 0) for _, e in ended)  # the first token comes out of the prefill
        extras: dict[str, Any] = {
            "usage": {
                "prompt_tokens": cached + read,
                "completion_tokens": written,
                "total_tokens": cached + read + written,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
            "timings": {
                "prefill_seconds": prefill,
                "decode_seconds": decode,
                "prefill_tokens_per_second": _rate(read, prefill),
                "decode_tokens_per_second": _rate(steps, decode),
                **({"mask_seconds": masks} if (masks := sum(e.finish.mask_seconds for _, e in ended)) else {}),
            },
            "seed": ended[0][1].finish.seed,
        }
        return extras | ({"cancelled": True} if any(e.finish.reason == "cancelled" for _, e in ended) else {})


def legacy_logprobs(entries: list[dict[str, Any]], offset: int) -> dict[str, Any]:
    """The `logprobs` of /v1/completions. offset: of the first token in the text, in characters."""
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    tops = [{t["token"]: t["logprob"] for t in reversed([*e["top_logprobs"], e])} for e in entries]
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
