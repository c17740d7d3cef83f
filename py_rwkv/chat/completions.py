"""One request answered: conversation → generation → chunks. The only place where templates, sessions and OpenAI's shapes meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from py_rwkv.chat.conversation import Conversation, encode
from py_rwkv.chat.openai import ChatRequest, Reply
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Delta, Event, Finish, generate, never
from py_rwkv.tokenizer import Tokenizer


async def stream(
    conversation: Conversation, request: ChatRequest, *, tokenizer: Tokenizer, model: str, cancel: Callable[[], bool] = never
) -> AsyncIterator[dict[str, Any]]:
    """Chunks of the answer; the last has finish_reason, usage, timings and seed. One request per conversation at a time.

    RwkvError `empty-prompt`, `prompt-too-long`, `no-candidates`, and what the session raises; an error or an abandoned iteration leaves the conversation usable.
    """
    cached, events = _start(conversation, request, tokenizer, cancel)
    reply = Reply.to(request, model)
    yield reply.opening()
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finish):
                yield reply.closing(event, cached)
            elif event.text:
                yield reply.chunk(event.text)


async def complete(
    conversation: Conversation, request: ChatRequest, *, tokenizer: Tokenizer, model: str, cancel: Callable[[], bool] = never
) -> dict[str, Any]:
    """The same answer as one dictionary."""
    cached, events = _start(conversation, request, tokenizer, cancel)
    text = ""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finish):
                return Reply.to(request, model).completion(text, event, cached)
            text += event.text
    raise RwkvError("internal", reason="the generation ended without an end")


def _start(conversation: Conversation, request: ChatRequest, tokenizer: Tokenizer, cancel: Callable[[], bool]) -> tuple[int, Any]:
    """(prompt tokens the state holds, the events to come). Checks before it touches the state."""
    tokens = encode(tokenizer, request.pieces)
    if len(tokens) > request.max_prompt_tokens:
        raise RwkvError("prompt-too-long", tokens=len(tokens), limit=request.max_prompt_tokens)
    rest = conversation.continue_with(tokens)
    return len(tokens) - len(rest), _events(conversation, request, rest, tokenizer, cancel)


async def _events(
    conversation: Conversation, request: ChatRequest, rest: list[int], tokenizer: Tokenizer, cancel: Callable[[], bool]
) -> AsyncIterator[Event]:
    blank = request.strip  # until something else came
    events: Any = generate(
        conversation.session,
        rest,
        tokenizer=tokenizer,
        sampling=request.sampling,
        stops=request.stops,
        stop_tokens=tokenizer.stop_tokens,
        max_tokens=request.max_tokens,
        cancel=cancel,
    )
    try:
        async with aclosing(events):
            async for event in events:
                if blank and isinstance(event, Delta):
                    event = Delta(event.text.lstrip(), event.tokens, event.logprobs)
                    blank = not event.text
                yield event
    except GeneratorExit:
        raise  # abandoned between two steps: the state is sound
    except BaseException:
        conversation.forget()
        raise
