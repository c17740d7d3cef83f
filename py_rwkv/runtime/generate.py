"""The generation loop: prompt tokens in, text as it becomes certain out. Knows a session and a tokenizer, no prompts and no device.

A sampled token enters the state only when its successor is wanted. So when the loop ends, the last token (a stop token, `\\n\\n`, the token at which somebody pressed
stop) is pending and the state ends just before it: what comes next in the conversation decides what the state sees there (`chat/conversation.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.processing import Processing, Text
from py_rwkv.runtime.sampling import Candidates, Choice, Sampler, Sampling
from py_rwkv.runtime.stops import StopMatcher
from py_rwkv.tokenizer import Tokenizer, Utf8Stream

if TYPE_CHECKING:
    from py_rwkv.structured import Grammar


class Session(Protocol):
    """A recurrent state that tokens are fed to. Its methods let the event loop run, or nothing could ask for a stop."""

    @property
    def tokens(self) -> Sequence[int]:
        """Every token the state has seen since it was zero."""

    async def prefill(self, tokens: Sequence[int], cancel: Callable[[], bool], mask: bytes = ...) -> Candidates:
        """Feed at least one token; candidates for the one after. RwkvError `cancelled` when `cancel()` turns true between chunks: `tokens` says how far it came.

        mask: u32 words, a bit for every token that may be a candidate; given for a grammar only.
        """

    async def step(self, token: int, mask: bytes = ...) -> Candidates:
        """Feed one token; candidates for the one after."""

    async def feed(self, tokens: Sequence[int], logits: Literal["last"], cancel: Callable[[], bool]) -> bytes:
        """`prefill`, with all f32 logits [V] in place of candidates."""

    def drawing(self, sampler: Sampler, stops: Sequence[int], limit: int) -> bool:
        """Whether the device draws from now on, as the sampler would, up to a stop token or the limit: then `draw` takes the place of `step`."""

    async def draw(self, token: int, drawn: int, most: int) -> Sequence[tuple[int, float]]:
        """Feed one token and those drawn after it but for the last: 1 to `most` (token, log-probability), the `drawn`-th of the text first."""

    async def rewind(self, count: int) -> None:
        """Forget the last `count` tokens, which the last `draw` has fed."""

    def reset(self) -> None:
        """Back to the zero state."""


@dataclass(frozen=True)
class Delta:
    """A piece of the answer. `text` is whole characters and no part of a stop string, and may be empty (held back) or belong to earlier tokens."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # natural log, of the model itself
    candidates: Candidates | None = None  # what the token was drawn from, if somebody asked


@dataclass(frozen=True)
class Finish:
    """The last event. Times in seconds; `completion_tokens` counts every sampled token, the stop token too."""

    reason: Literal["stop", "length", "cancelled"]
    stop: str | None  # the stop string that was hit
    prompt_tokens: int  # asked to be fed
    completion_tokens: int
    prefill_seconds: float
    decode_seconds: float
    fed_tokens: tuple[int, ...]  # entered the state during this call, in order
    pending_token: int | None  # sampled, shown if it is text, not in the state
    seed: int
    mask_seconds: float = 0.0  # spent on finding out what the grammar allows


Event = Delta | Finish


def never() -> bool:
    """Nobody cancels."""
    return False


async def generate(
    session: Session,
    prompt_tokens: Sequence[int],
    *,
    tokenizer: Tokenizer,
    sampling: Sampling,
    stops: Sequence[str] = (),
    stop_tokens: Sequence[int] = (0,),
    max_tokens: int,
    cancel: Callable[[], bool] = never,
    candidates: Candidates | None = None,
    marks: Sequence[int] = (),
    reached: Callable[[Candidates], Awaitable[None]] | None = None,
    inspect: bool = False,
    processing: Processing | None = None,
    grammar: Grammar | None = None,
    begun: str = "",
) -> AsyncIterator[Event]:
    """Feed `prompt_tokens` to the session as it is and generate: Deltas, then one Finish.

    candidates: for the first token, where the state has seen all of the prompt already and `prompt_tokens` is empty.
    reached: called when so many prompt tokens are in the state as one of `marks` (ascending) says, and at the end of the prompt.
    inspect: Deltas bring their candidates; the text is the same, but nothing is drawn on the device.
    processing: functions of a person's own that choose with, or in place of, the sampler; nothing is drawn on the device either.
    grammar: what the text is held to. It ends when that is whole and nothing can follow; where it may end, the stop tokens and the first token of a stop string
    end it, and a stop string counts only there. begun: how the text begins in the prompt. Takes no `candidates`; those of the end of the prompt are not told to `reached`.
    Nor is anything drawn there with a `logit_bias`, which the device does not know; a positive one fetches all logits of every token, and takes no `candidates`.

    RwkvError `empty-prompt`; errors of the session and the sampler pass through, and then the state is unknown.
    """
    if not prompt_tokens and (candidates is None or grammar):
        raise RwkvError("empty-prompt")
    guide = grammar.matcher(tokenizer, stop_tokens, signs_of(tokenizer, stops), begun) if grammar else None
    sampler, stream = Sampler(sampling, tokenizer.vocab_limit), Utf8Stream()
    matcher = StopMatcher(stops, (lambda text: grammar.accepts(begun + text)) if grammar else None)
    before, pending, reason = len(session.tokens), None, "length"
    ahead: deque[tuple[int, float]] = deque()  # drawn by the device, not yet looked at
    ready, began = None, perf_counter()
    so_far = Text((*session.tokens, *prompt_tokens), tokenizer, sampler.seed)

    def choose(candidates: Candidates) -> Choice:
        if guide and not candidates.ids:
            raise RwkvError("no-candidates")
        return processing.choose(candidates, sampler, so_far) if processing else sampler.sample(candidates)

    try:
        _check(cancel)
        for first, end in pairwise((0, *marks, len(prompt_tokens))):
            if first == end:
                continue
            mask = guide.mask() if guide and end == len(prompt_tokens) else b""
            if sampling.everything:
                raw = await session.feed(prompt_tokens[first:end], "last", cancel)
                candidates = _chosen_from(raw, sampling, mask)
                told = Candidates.of_logits(raw) if reached else candidates
            else:
                candidates = told = await session.prefill(prompt_tokens[first:end], cancel, *([mask] if mask else []))
            if reached and not mask:
                await reached(told)
        ready = perf_counter()
        assert candidates is not None
        drawing = False
        while sampler.drawn < max_tokens:
            _check(cancel)
            if pending is None:
                pending, logprob = choose(candidates)
                plain = not (inspect or processing or guide or sampling.logit_bias or sampling.everything)
                drawing = plain and session.drawing(sampler, stop_tokens, max_tokens)
            elif drawing:
                if not ahead:
                    ahead.extend(await session.draw(pending, sampler.drawn, max_tokens - sampler.drawn))
                pending, logprob = ahead.popleft()
                sampler.accept(pending)
            else:
                mask = guide.mask() if guide else b""
                if sampling.everything:
                    candidates = _chosen_from(await session.feed((pending,), "last", never), sampling, mask)
                else:
                    candidates = await session.step(pending, *([mask] if mask else []))
                pending, logprob = choose(candidates)
            if guide:
                guide.advance(pending)
            ended = pending in stop_tokens or (guide is not None and guide.ended)
            text, hit = matcher.feed("" if ended else stream.feed(tokenizer.token_bytes(pending)))
            yield Delta(text, (pending,), (logprob,), candidates if inspect else None)
            if ended or hit or (guide and guide.finished):
                reason = "stop"
                break
    except RwkvError as error:
        if error.code != "cancelled":
            raise
        reason = "cancelled"
    except GeneratorExit:
        if ahead:
            await session.rewind(len(ahead))
        raise
    if ahead:
        await session.rewind(len(ahead))
    done = perf_counter()
    rest, hit = matcher.feed(stream.finish())
    if rest := rest + matcher.flush():
        yield Delta(rest)
    yield Finish(
        reason=reason,  # type: ignore[arg-type]
        stop=hit,
        prompt_tokens=len(prompt_tokens),
        completion_tokens=sampler.drawn,
        prefill_seconds=(ready or done) - began,
        decode_seconds=done - (ready or done),
        fed_tokens=tuple(session.tokens[before:]),
        pending_token=pending,
        seed=sampler.seed,
        mask_seconds=guide.mask_seconds if guide else 0.0,
    )


def _chosen_from(raw: bytes, sampling: Sampling, mask: bytes) -> Candidates:
    """Of all logits, those that can be chosen: the best that are not banned, and what a bias favours."""
    return Candidates.of_logits(raw, [token for token, bias in sampling.logit_bias if bias > 0], frozenset(sampling.ban), mask)


def signs_of(tokenizer: Tokenizer, stops: Sequence[str]) -> list[int]:
    """The first token of each stop string: a model that writes it where a text may end means its end."""
    signs = []
    for stop in stops:
        with suppress(RwkvError):  # a vocabulary that cannot write it
            signs += tokenizer.encode(stop)[:1]
    return signs


def _check(cancel: Callable[[], bool]) -> None:
    if cancel():
        raise RwkvError("cancelled")
