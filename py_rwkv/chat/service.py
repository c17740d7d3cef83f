"""Chat with a loaded engine: finds the session that already holds most of a request, and keeps several conversations apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from typing import Any

from py_rwkv.chat import completions
from py_rwkv.chat.conversation import Conversation, encode, missing
from py_rwkv.chat.openai import ChatRequest, parse_request
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.generate import never

Cancel = Callable[[], bool]


class ChatService:
    """OpenAI-shaped requests on one engine. Requests beyond the number of conversations wait for their turn."""

    def __init__(self, engine: Engine, conversations: int | None = None) -> None:
        """`conversations`: at a time, each in a slot of the engine; all slots but one (for logits), if not given. They advance together, in the same steps."""
        conversations = max(1, engine.slots - 1) if conversations is None else conversations
        self.engine = engine
        self.name = engine.manifest.name
        self.defaults: dict[str, Any] = {"template": engine.manifest.template, **asdict(engine.manifest.sampling)}
        self.sessions = [engine.session() for _ in range(conversations)]  # to save a state, or to put one there
        self._idle = [Conversation(session) for session in self.sessions]  # least recently used first
        self._turns = asyncio.Semaphore(conversations)

    async def stream(self, request: Mapping[str, Any], cancel: Cancel = never) -> AsyncIterator[dict[str, Any]]:
        """Chunks of one answer; RwkvErrors as in `parse_request` and `completions.stream`."""
        checked = parse_request(request, self.defaults)
        async with self._conversation(checked) as conversation:
            chunks = completions.stream(conversation, checked, tokenizer=self.engine.tokenizer, model=self.name, cancel=cancel)
            async with aclosing(chunks):  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk

    async def complete(self, request: Mapping[str, Any], cancel: Cancel = never) -> dict[str, Any]:
        """The whole answer."""
        checked = parse_request(request, self.defaults)
        async with self._conversation(checked) as conversation:
            return await completions.complete(conversation, checked, tokenizer=self.engine.tokenizer, model=self.name, cancel=cancel)

    @asynccontextmanager
    async def _conversation(self, request: ChatRequest) -> AsyncIterator[Conversation]:
        async with self._turns:
            tokens = encode(self.engine.tokenizer, request.pieces)
            chosen = max(self._idle, key=lambda c: _held(c, tokens))  # of equals the least recently used
            self._idle.remove(chosen)
            try:
                yield chosen
            finally:
                self._idle.append(chosen)


def _held(conversation: Conversation, tokens: list[int]) -> int:
    """How many tokens of a request a conversation's state has seen; -1 if it holds something else, which starting afresh would forget."""
    fed = conversation.session.tokens
    return -1 if missing(fed, tokens) is None else len(fed)
