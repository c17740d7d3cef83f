"""How well a model predicts a text: LAMBADA (the last word of a passage) and the perplexity of any file. Several passages advance together, one per session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, NamedTuple

from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.tokenizer import Tokenizer

if TYPE_CHECKING:
    from py_rwkv.runtime.engine import Engine

ROWS = 64  # tokens whose logits are read back at a time: 64 rows of 65536 floats are 17 MB


class Example(NamedTuple):
    """Read `context`, predict `target`."""

    context: Sequence[int]
    target: Sequence[int]


class Scored(NamedTuple):
    """logprob: Σ ln p(token | everything before it) over the target. greedy: whether each of its tokens was the likeliest."""

    logprob: float
    greedy: bool


@dataclass
class Total:
    """Sums over the examples scored so far."""

    examples: int = 0
    correct: int = 0
    tokens: int = 0  # of the targets
    logprob: float = 0.0

    def add(self, example: Example, scored: Scored) -> None:
        self.examples += 1
        self.correct += scored.greedy
        self.tokens += len(example.target)
        self.logprob += scored.logprob

    @property
    def perplexity(self) -> float:
        """exp(−Σ ln p(target) / examples): LAMBADA's, one target per example however many tokens it has."""
        return _exp(-self.logprob / max(self.examples, 1))

    @property
    def token_perplexity(self) -> float:
        """exp(−Σ ln p(token) / tokens)."""
        return _exp(-self.logprob / max(self.tokens, 1))

    @property
    def accuracy(self) -> float:
        """Share of the examples whose whole target is the greedy continuation, 0 to 1."""
        return self.correct / max(self.examples, 1)

    def bits_per_byte(self, size: int) -> float:
        """−Σ log2 p / bytes of the text that the targets are."""
        return -self.logprob / log(2) / max(size, 1)


Seen = Callable[[Total], None]


async def evaluate(engine: Engine, examples: Sequence[Example], *, sessions: int, seen: Seen = lambda total: None) -> Total:
    """Score all examples, `sessions` at a time; `seen` after each of them, in their order. RwkvErrors of the engine, `not-a-number`."""
    total = Total()
    waiting, done = iter(enumerate(examples)), dict[int, Scored]()

    async def work() -> None:
        session = engine.session()
        try:
            for number, example in waiting:
                done[number] = await _score(engine, session, example)
                while total.examples in done:  # sums are added in order: the result does not depend on who was faster
                    number = total.examples
                    total.add(examples[number], done.pop(number))
                    seen(total)
        finally:
            session.close()

    tasks = [asyncio.ensure_future(work()) for _ in range(min(sessions, len(examples)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return total


async def _score(engine: Engine, session: object, example: Example) -> Scored:
    from py_rwkv.runtime.session import Session

    assert isinstance(session, Session)
    session.reset()
    context, target = example
    engine.check_tokens(target)
    logprob, greedy = 0.0, True
    rows = await session.feed(context, "last")
    for at in range(0, len(target), ROWS):
        wanted = target[at : at + ROWS]
        if fed := wanted[:-1] if at + ROWS >= len(target) else wanted:
            more = await session.feed(fed, "full")
            rows += more
        logits = np.frombuffer(rows, np.float32).reshape(-1, engine.config.vocab)
        found, likeliest = log_softmax_at(logits[: len(wanted)], wanted)
        logprob, greedy = logprob + found, greedy and likeliest
        rows = rows[len(wanted) * 4 * engine.config.vocab :]
    return Scored(logprob, greedy)


def log_softmax_at(logits: np.ndarray, tokens: Sequence[int]) -> tuple[float, bool]:
    """(Σ ln softmax(logits[i])[tokens[i]], whether each token is the likeliest). logits: f32 [T, V]; the sums are f64. RwkvError `not-a-number`."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    chosen = wide[np.arange(len(tokens)), np.asarray(tokens)]
    total = float((chosen - top - np.log(np.exp(wide - top[:, None]).sum(axis=1))).sum())
    if not np.isfinite(total):
        raise RwkvError("not-a-number", where="the logits")
    return total, bool((wide.argmax(axis=1) == np.asarray(tokens)).all())


def lambada(text: bytes, tokenizer: Tokenizer, *, limit: int | None = None, start: Sequence[int] | None = None) -> Iterator[Example]:
    """Lines `{"text": …}` → examples: the last word with the space before it is the target, tokenized by itself; what precedes it the context, behind
    the end-of-document token (or `start`), as in the RWKV-LM and Hugging Face ports' checks. RwkvError `bad-test-set` names the line."""
    before = list(tokenizer.stop_tokens[:1] if start is None else start)
    count = 0
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        if count == limit:
            return
        try:
            passage = json.loads(line)["text"]
            context, word = passage.rsplit(" ", 1)
            tokens, target = before + tokenizer.encode(context), tokenizer.encode(" " + word)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            tokens = target = []
        if not tokens or not target:
            raise RwkvError("bad-test-set", line=number, expected='{"text": "several words"}', found=line[:60].decode("utf-8", "replace"))
        yield Example(tokens, target)
        count += 1
    if not count:
        raise RwkvError("bad-test-set", line=1, expected='{"text": "several words"}', found="nothing")


def windows(tokens: Sequence[int], context: int, stride: int, start: Sequence[int]) -> Iterator[Example]:
    """A long text as examples that together predict each token once: windows of `context` tokens, `stride` apart, of which the last `stride` are the target.

    Every window begins with `start`; without any, a window's first token cannot be a target. RwkvError `bad-setting`, `empty-prompt`.
    """
    check_windows(context, stride)
    if len(tokens) + len(start) < 2:
        raise RwkvError("empty-prompt")
    for first in range(0, len(tokens), stride):
        end = min(first + stride, len(tokens))
        low = max(0, first + stride - context)
        head = [*start, *tokens[low:first]]
        split = first if head else first + 1
        if split < end:
            yield Example(head or [tokens[first]], tokens[split:end])


def check_windows(context: int, stride: int) -> None:
    """RwkvError `bad-setting`."""
    if not 1 <= stride <= context:
        raise RwkvError("bad-setting", name="stride", expected=f"1 to the context of {context} tokens", found=stride)


def _exp(value: float) -> float:
    try:
        return exp(value)
    except OverflowError:
        return float("inf")
