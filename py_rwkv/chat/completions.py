"""One request answered: conversation → generation → chunks. The only place where templates, sessions and OpenAI's shapes meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from py_rwkv.chat.conversation import Conversation, encode
from py_rwkv.chat.framing import grammar_of_answer
from py_rwkv.chat.logprobs import entry
from py_rwkv.chat.openai import ChatRequest
from py_rwkv.chat.prefix_cache import PrefixCache
from py_rwkv.chat.replies import Ended, Event, Part, Reply
from py_rwkv.chat.thinking import Thoughts
from py_rwkv.chat.tools import Calls
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Delta, Finish, generate, never
from py_rwkv.runtime.processing import Processing
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import Tokenizer

if TYPE_CHECKING:
    from py_rwkv.structured import Grammar

WORTH = 32  # tokens before the first turn (a system prompt) whose state is kept for conversations that begin alike


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
    processing: Processing | None = None  # functions of a person's own that take part in choosing tokens
    cached: int = 0  # prompt tokens that were not read again
    _marks: list[int] = field(default_factory=list)
    _grammar: Grammar | None = None  # of all that comes after the cue
    _strip: bool = False

    async def begin(self) -> tuple[list[int], Candidates | None]:
        """What to feed, and the candidates if that is nothing. Checks before it touches the state."""
        tokens: list[int] = []
        for i, piece in enumerate(self.request.pieces):
            if i and i in self.request.marks and (len(tokens) >= WORTH or i != self.request.marks[0]):
                self._marks.append(len(tokens))
            tokens += encode(self.tokenizer, (piece,))
        if len(tokens) > self.request.max_prompt_tokens:
            raise RwkvError("prompt-too-long", tokens=len(tokens), limit=self.request.max_prompt_tokens)
        grammar = self.request.grammar
        if grammar:
            self._grammar, self._strip = grammar_of_answer(grammar, self.request.before, self.request.strip)
            self._marks.append(len(tokens) - 1)
        keep = (
            len(tokens) - 1 if grammar or self.request.sampling.everything else len(tokens)
        )  # its last token is read again: what was kept are candidates, not logits
        rest, candidates = await self.conversation.continue_with(tokens[:keep], self.request.state, self.cache, self.origin)
        rest += tokens[keep:]
        self.cached = len(tokens) - len(rest)
        return rest, candidates

    async def parts(self, rest: list[int], candidates: Candidates | None) -> AsyncIterator[Event]:
        """The answer part by part, then how it ended."""
        request = self.request
        thoughts = Thoughts(request.thinks, request.before, self._strip if request.grammar else request.strip)
        calls = Calls() if request.tools else None
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
            processing=self.processing,
            grammar=self._grammar,
            begun=request.before,
        )
        try:
            async with aclosing(events):
                async for event in events:
                    last = isinstance(event, Finish)
                    thought, text = thoughts.feed("" if last else event.text, last)
                    text, deltas = calls.feed(text, last) if calls else (text, ())
                    if thought or text or deltas or (not last and event.candidates):
                        yield Part(thought, text, self._logprobs(event), deltas)
                    if last:
                        if len(self.conversation.session.tokens) > self.cached + len(rest):
                            await self._keep()
                        yield Ended(event, self.cached, thoughts.thought, calls.count if calls else 0)
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


async def answer(conversation: Conversation, request: ChatRequest, **options: Any) -> AsyncIterator[Event]:
    """One choice: an empty Part when its prompt is about to be read, what comes, and its end. One request per conversation at a time. options: those of `Answering`.

    RwkvError `empty-prompt`, `prompt-too-long`, `no-candidates`, `unknown-state`, and what the session raises; an error or an abandoned iteration leaves the
    conversation usable.
    """
    answering = Answering(conversation, request, **options)
    rest, candidates = await answering.begin()
    yield Part()
    if request.echo:
        yield Part(text="".join(p if isinstance(p, str) else answering.tokenizer.decode(p) for p in request.pieces))
    parts: Any = answering.parts(rest, candidates)
    async with aclosing(parts):
        async for part in parts:
            yield part


async def stream(conversation: Conversation, request: ChatRequest, **options: Any) -> AsyncIterator[dict[str, Any]]:
    """Chunks of one choice; the last has finish_reason, usage, timings and seed."""
    reply, events = Reply([request], options["model"]), answer(conversation, request, **options)
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            for chunk in reply.chunks(0, event):
                yield chunk


async def complete(conversation: Conversation, request: ChatRequest, **options: Any) -> dict[str, Any]:
    """The same answer as one dictionary."""
    reply, events = Reply([request], options["model"]), answer(conversation, request, **options)
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            reply.take(0, event)
    return reply.completion()
