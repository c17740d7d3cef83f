"""One request answered: conversation → generation → chunks. The only place where templates, sessions and OpenAI's shapes meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from py_rwkv.chat.conversation import Conversation
from py_rwkv.chat.logprobs import entry
from py_rwkv.chat.openai import ChatRequest, Reply
from py_rwkv.chat.prefix_cache import PrefixCache
from py_rwkv.chat.thinking import Thoughts
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Delta, Finish, generate, never
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import Tokenizer

WORTH = 32  # tokens before the first turn (a system prompt) whose state is kept for conversations that begin alike


@dataclass(frozen=True)
class Part:
    """What came: text of the thought, text of the answer, and what is to be said of its tokens."""

    thought: str = ""
    text: str = ""
    logprobs: list[dict[str, Any]] | None = None


@dataclass
class Answering:
    """One answer under way. cache, origin: where states are kept, and what it knows the conversation's start by."""

    conversation: Conversation
    request: ChatRequest
    tokenizer: Tokenizer
    model: str
    cancel: Callable[[], bool] = never
    cache: PrefixCache | None = None
    origin: str = ""
    cached: int = 0  # prompt tokens that were not read again
    thought: bool = False  # whether the answer had one, if only an empty one
    _marks: list[int] = field(default_factory=list)

    async def begin(self) -> tuple[list[int], Candidates | None]:
        """What to feed, and the candidates if that is nothing. Checks before it touches the state."""
        tokens: list[int] = []
        for i, piece in enumerate(self.request.pieces):
            if i and i in self.request.marks and (len(tokens) >= WORTH or i != self.request.marks[0]):
                self._marks.append(len(tokens))
            tokens += self.tokenizer.encode(piece)
        if len(tokens) > self.request.max_prompt_tokens:
            raise RwkvError("prompt-too-long", tokens=len(tokens), limit=self.request.max_prompt_tokens)
        rest, candidates = await self.conversation.continue_with(tokens, self.request.state, self.cache, self.origin)
        self.cached = len(tokens) - len(rest)
        return rest, candidates

    async def parts(self, rest: list[int], candidates: Candidates | None) -> AsyncIterator[Part | Finish]:
        """The answer part by part, then how it ended."""
        request = self.request
        thoughts = Thoughts(request.thinks, request.before, request.strip)
        events: Any = generate(
            self.conversation.session,
            rest,
            tokenizer=self.tokenizer,
            sampling=request.sampling,
            stops=request.stops,
            stop_tokens=self.tokenizer.stop_tokens,
            max_tokens=request.max_tokens,
            cancel=self.cancel,
            candidates=candidates,
            marks=[mark - self.cached for mark in self._marks if mark > self.cached],
            reached=self._keep if self.cache else None,
            inspect=request.logprobs is not None,
        )
        try:
            async with aclosing(events):
                async for event in events:
                    last = isinstance(event, Finish)
                    thought, text = thoughts.feed("" if last else event.text, last)
                    self.thought = thoughts.thought
                    if thought or text or (not last and event.candidates):
                        yield Part(thought, text, self._logprobs(event))
                    if last:
                        if len(self.conversation.session.tokens) > self.cached + len(rest):
                            await self._keep()
                        yield event
        except GeneratorExit:
            raise  # abandoned between two steps: the state is sound
        except BaseException:
            self.conversation.forget()
            raise

    async def _keep(self, candidates: Candidates | None = None) -> None:
        if self.cache:
            await self.cache.keep(self.conversation.session, self.origin, candidates)

    def _logprobs(self, event: Delta | Finish) -> list[dict[str, Any]] | None:
        top = self.request.logprobs
        if top is None or not isinstance(event, Delta) or event.candidates is None:
            return None if top is None else []
        known = event.candidates
        return [entry(self.tokenizer, token, p, known, top) for token, p in zip(event.tokens, event.logprobs, strict=True)]


async def stream(conversation: Conversation, request: ChatRequest, **options: Any) -> AsyncIterator[dict[str, Any]]:
    """Chunks of the answer; the last has finish_reason, usage, timings and seed. One request per conversation at a time. options: those of `Answering`.

    RwkvError `empty-prompt`, `prompt-too-long`, `no-candidates`, `unknown-state`, and what the session raises; an error or an abandoned iteration leaves the
    conversation usable.
    """
    answering = Answering(conversation, request, **options)
    parts: Any = answering.parts(*await answering.begin())
    reply = Reply.to(request, answering.model)
    yield reply.opening()
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Finish):
                yield reply.closing(part, answering.cached)
            else:
                yield reply.chunk(part.text, part.thought, part.logprobs)


async def complete(conversation: Conversation, request: ChatRequest, **options: Any) -> dict[str, Any]:
    """The same answer as one dictionary."""
    answering = Answering(conversation, request, **options)
    parts: Any = answering.parts(*await answering.begin())
    text, thought, logprobs = "", "", None if request.logprobs is None else list[dict[str, Any]]()
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Finish):
                told = thought if answering.thought else None
                return Reply.to(request, answering.model).completion(text, part, answering.cached, told, logprobs)
            text += part.text
            thought += part.thought
            if logprobs is not None:
                logprobs += part.logprobs or []
    raise RwkvError("internal", reason="the generation ended without an end")
