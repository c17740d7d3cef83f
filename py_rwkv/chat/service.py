"""Chat with a loaded engine: finds the state that already holds most of a request, and keeps several conversations apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

from py_rwkv.chat import completions
from py_rwkv.chat.choices import Turns, together
from py_rwkv.chat.conversation import Conversation, Remembering, encode
from py_rwkv.chat.openai import ChatRequest, checked, layout_of, parse_choices, parse_request
from py_rwkv.chat.prefix_cache import MemoryVault, PrefixCache, Vault
from py_rwkv.chat.reading import read
from py_rwkv.chat.replies import Event, Part, Reply
from py_rwkv.chat.templates import TEMPLATES
from py_rwkv.chat.trace import Gauge, NumpyGauge, trace
from py_rwkv.checkpoint.state_file import State
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.generate import never
from py_rwkv.runtime.sampling import number
from py_rwkv.runtime.script import Script
from py_rwkv.runtime.states import buffers_of

Cancel = Callable[[], bool]


class ChatService:
    """OpenAI-shaped requests on one engine. Requests beyond the number of conversations wait for their turn."""

    def __init__(self, engine: Engine, conversations: int | None = None, vault: Vault | None = None, script: Script | None = None) -> None:
        """`conversations`: at a time, each in a slot of the engine; all slots but one (for logits), if not given. They advance together, in the same steps.

        vault: where states of what was read lie; in memory, if not given. script: functions of a person's own that take part (docs/hooks.md).
        """
        conversations = max(1, engine.slots - 1) if conversations is None else conversations
        self.engine = engine
        self.name = engine.manifest.name
        self.defaults: dict[str, Any] = {"template": engine.manifest.template, **asdict(engine.manifest.sampling)}
        self.sessions = [engine.session() for _ in range(conversations)]  # to save a state, or to put one there
        self.script = script or Script()
        self.script.engine = engine
        self.vault = vault or MemoryVault(engine)
        self.cache = PrefixCache(self.vault, engine.manifest.model_hash)
        self._idle = [Conversation(session) for session in self.sessions]  # least recently used first
        self._turns = Turns(conversations)
        self._starts: dict[str, State] = {}  # what people began conversations with; their tensors lie in the vault
        self._own: tuple[Any, str] = (None, "")  # the engine's start, and what the cache knows it by
        self._last = 0  # tokens in the state of the conversation that was used last

    async def stream(self, request: Mapping[str, Any], cancel: Cancel = never) -> AsyncIterator[dict[str, Any]]:
        """Chunks of an answer, all its choices; RwkvErrors as in `parse_choices` and `completions.answer`."""
        choices = parse_choices(request, self.defaults)
        reply, events = Reply(choices, self.name), self._answers(choices, cancel)
        async with aclosing(events):  # type: ignore[type-var]
            async for index, event in events:
                for chunk in reply.chunks(index, event):
                    yield chunk

    async def complete(self, request: Mapping[str, Any], cancel: Cancel = never) -> dict[str, Any]:
        """The whole answer."""
        choices = parse_choices(request, self.defaults)
        reply, events = Reply(choices, self.name), self._answers(choices, cancel)
        async with aclosing(events):  # type: ignore[type-var]
            async for index, event in events:
                reply.take(index, event)
        return reply.completion()

    async def _answers(self, choices: Sequence[ChatRequest], cancel: Cancel) -> AsyncIterator[tuple[int, Event]]:
        """What comes of all choices, as many at a time as there are conversations. The first of a prompt reads it, the others begin where it ends."""
        read = {c.prompt: asyncio.Event() for c in choices if len(choices) > 1}
        owner = object()

        def run(choice: ChatRequest) -> Callable[[Cancel], AsyncIterator[Event]]:
            async def events(cancel: Cancel) -> AsyncIterator[Event]:
                first = next(c for c in choices if c.prompt == choice.prompt) is choice
                try:
                    if not first:
                        await read[choice.prompt].wait()
                    async with self._conversation(choice, owner) as (conversation, options):
                        parts = completions.answer(conversation, choice, cancel=cancel, **options)
                        async with aclosing(parts):  # type: ignore[type-var]
                            async for part in parts:
                                if read and part != Part():
                                    read[choice.prompt].set()
                                yield part
                finally:
                    if read:
                        read[choice.prompt].set()

            return events

        events = together([run(choice) for choice in choices], cancel)
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                yield event

    def templates(self) -> dict[str, Any]:
        """{default: the model's own, templates: [all of them, as a request may bring them]}."""
        return {"default": self.defaults["template"], "templates": [template.to_json() for template in TEMPLATES.values()]}

    @cached_property
    def tokenizer(self) -> Remembering:
        """The engine's. RwkvErrors of `Engine.tokenizer`."""
        return Remembering(self.engine.tokenizer)

    def render(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """{text, pieces, tokens}: exactly what the model would read, the texts that are tokenized one by one, and how many tokens that makes."""
        parsed = parse_request(request, self.defaults)
        tokens = encode(self.tokenizer, parsed.pieces)
        pieces = [p if isinstance(p, str) else self.tokenizer.decode(p) for p in parsed.pieces]
        return {"text": "".join(pieces), "pieces": pieces, "tokens": len(tokens)}

    def add_start(self, state: State, *, force: bool = False, name: str = "") -> str:
        """An id for requests' `state`: their conversations begin from this state. The same state has the same id, if it gets no other. RwkvErrors of `check_state`."""
        buffers = buffers_of(self.engine.manifest, state, force=force)
        digest = sha256()
        for buffer in sorted(buffers):
            digest.update(buffers[buffer])
        name = name or f"start-{digest.hexdigest()[:32]}"
        self.vault.pin(name, buffers)
        self._starts[name] = replace(state, tensors={})
        return name

    async def state_after(self, request: Mapping[str, Any], cancel: Cancel = never) -> State:
        """What the model remembers of the messages, all of them read (of a question also the cue for its answer); the notes hold the messages.

        RwkvErrors of `parse_request`; `cancelled`.
        """
        given = checked({**request, "stream": False})
        _, layout = layout_of(given, self.defaults, "read")
        parsed = parse_request({"prompt": "x", "state": given.get("state")}, self.defaults)
        parsed = replace(parsed, pieces=tuple(layout.pieces))
        async with self._conversation(parsed) as (conversation, options):
            tokens = encode(self.tokenizer, parsed.pieces)
            rest, _ = await conversation.continue_with(tokens, parsed.state, self.cache, options["origin"])
            try:
                if rest:
                    await conversation.session.prefill(rest, cancel)
                state: State = await conversation.session.state()  # type: ignore[attr-defined]
            except RwkvError as e:
                if e.code != "cancelled":
                    conversation.forget()
                raise
        notes = {"messages": json.dumps(given["messages"], ensure_ascii=False)} if "messages" in given else {}
        return replace(state, notes=notes)

    async def trace(
        self, request: Mapping[str, Any], emit: Callable[[dict[str, Any]], None], gauge: Gauge | None = None, cancel: Cancel = never
    ) -> dict[str, Any]:
        """Watch the state while it reads {text}, or what a request's model would read: see `trace.trace`. gauge: with numpy, if not given.

        until: read only so many tokens; last: watch only so many of them, and read those before at once. `bad-setting`.
        """
        request = dict(request)
        until, last = (number(name, request.pop(name, 1 << 24), 1, 1 << 24, True) for name in ("until", "last"))
        if "text" in request:
            request["prompt"] = request.pop("text")
        _, layout = layout_of(given := checked({**request, "stream": False}), self.defaults, "read")
        if (name := given.get("state", "")) and name not in self._starts:
            raise RwkvError("unknown-state", name=name)
        tokens = encode(self.tokenizer, layout.pieces)[: int(until)]
        start = (lambda session: self.vault.restore([name], session)) if name else None
        skip = max(0, len(tokens) - int(last))
        return await trace(self.engine, tokens, gauge or NumpyGauge(self.engine), emit, start=start, skip=skip, cancel=cancel)

    async def score(self, request: Mapping[str, Any], emit: Callable[[dict[str, Any]], None], cancel: Cancel = never) -> dict[str, int]:
        """Read the last message, an answer, again; `emit` gets what each of its tokens competed with (`reading.read`). How many tokens were read before it.

        `top_logprobs` says how many alternatives. RwkvErrors of `parse_request`; `empty-prompt` where nothing comes before the answer; `cancelled`.
        """
        given = {**request, "stream": False, "continue": True, "logprobs": True}
        parsed = parse_request(given, self.defaults)
        cue = layout_of(checked(given), self.defaults)[1].cue
        parsed, answer = replace(parsed, pieces=parsed.pieces[:cue]), encode(self.tokenizer, parsed.pieces[cue:])
        prompt = encode(self.tokenizer, parsed.pieces)
        if not prompt:
            raise RwkvError("empty-prompt")
        async with self._conversation(parsed) as (conversation, options):
            rest, candidates = await conversation.continue_with(prompt, parsed.state, self.cache, options["origin"])
            await read(conversation, self.tokenizer, rest, candidates, answer, parsed.logprobs or 0, emit, cancel)
        return {"prompt_tokens": len(prompt), "cached_tokens": len(prompt) - len(rest), "tokens": len(answer)}

    def info(self) -> dict[str, Any]:
        """context: tokens in the state that was used last, and in each of them; states: what the cache holds, where the vault knows."""
        return {"context": {"tokens": self._last, "slots": [len(s.tokens) for s in self.sessions]}, "states": self.vault.usage()}

    @asynccontextmanager
    async def _conversation(self, request: ChatRequest, owner: object = None) -> AsyncIterator[tuple[Conversation, dict[str, Any]]]:
        """One that nobody else uses meanwhile, and options for `completions`. owner: what the choices of one request have in common."""
        if request.state and request.state not in self._starts:
            raise RwkvError("unknown-state", name=request.state)
        processing = self.script.processing(request.processors, request.sampler)
        async with self._turns.turn(owner or request):
            tokens = encode(self.tokenizer, request.pieces)
            chosen = max(self._idle, key=lambda c: c.held(tokens, request.state))  # of equals the least recently used
            self._idle.remove(chosen)
            options = {
                "tokenizer": self.tokenizer,
                "model": self.name,
                "cache": self.cache,
                "origin": request.state or self._origin(),
                "processing": processing,
            }
            try:
                yield chosen, options
            finally:
                self._idle.append(chosen)
                self._last = len(chosen.session.tokens)

    def _origin(self) -> str:
        """What the cache knows the engine's own start by."""
        start = self.engine.start
        if self._own[0] is not start:
            digest = sha256(b"".join(start[name] for name in sorted(start))).hexdigest()[:32] if start else ""
            self._own = (start, digest)
        return self._own[1]
