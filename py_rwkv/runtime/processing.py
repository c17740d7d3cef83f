"""A person's own logit processors and samplers (docs/hooks.md): functions of the best candidates, called for every token of a text. Knows no model and no page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates, Choice, Sampler, random_u32
from py_rwkv.tokenizer import Tokenizer

Scores = dict[int, float]  # logits of the best candidates (at most 256), by token


@dataclass
class Text:
    """What a function may know of the text that is being written; the same object for all of its tokens."""

    prompt: tuple[int, ...]  # everything that was read before the first token
    tokenizer: Tokenizer
    seed: int
    tokens: list[int] = field(default_factory=list)  # written so far
    memory: dict[str, Any] = field(default_factory=dict)  # whatever functions want to find again at the next token

    @property
    def text(self) -> str:
        """What was written so far; a character that is not whole yet is a replacement character."""
        return b"".join(map(self.tokenizer.token_bytes, self.tokens)).decode("utf-8", "replace")

    def piece(self, token: int) -> str:
        """The text of one token."""
        return self.tokenizer.token_bytes(token).decode("utf-8", "replace")

    def random(self) -> float:
        """A number in [0, 1) that depends on the seed and the number of tokens written: the same in every run."""
        return float((random_u32(self.seed, len(self.tokens)) >> 8) * 2.0**-24)


Processor = Callable[[Scores, Text], Scores | None]
TokenSampler = Callable[[Scores, Text], int]


@dataclass(frozen=True)
class Processing:
    """What one answer goes through: processors one after the other, then a sampler in place of ours, if there is one. By name."""

    processors: Mapping[str, Processor] = field(default_factory=dict)
    sampler: tuple[str, TokenSampler] | None = None

    def __bool__(self) -> bool:
        return bool(self.processors or self.sampler)

    def choose(self, candidates: Candidates, own: Sampler, text: Text) -> Choice:
        """The next token, counted by `own`. Its log-probability is the model's own, as ever.

        A processor gets scores, changes them in place or returns others; a token that it leaves out is not chosen, and it cannot bring in new ones (a grammar
        may forbid them). What `ban` forbids is not shown.
        RwkvError `not-a-number`, `no-candidates`, `bad-hook-value`, and whatever the functions raise.
        """
        if not math.isfinite(candidates.logsumexp) or any(map(math.isnan, candidates.logits)):
            raise RwkvError("not-a-number", where="the logits")
        limit, ban = text.tokenizer.vocab_limit, own.sampling.ban
        scores = {t: x for t, x in zip(candidates.ids, candidates.logits, strict=True) if t < limit and t not in ban and x > -math.inf}
        known = dict(scores)
        for name, run in self.processors.items():
            changed = run(scores, text)
            scores = checked(name, scores if changed is None else changed, known)
        if not scores:
            raise RwkvError("no-candidates")
        if self.sampler:
            name, run_sampler = self.sampler
            token = run_sampler(scores, text)
            if token not in scores:
                raise RwkvError(
                    "bad-hook-value", point=f"sampler {name}", expected="one of the tokens it was given", found=repr(token)[:80]
                )
            own.accept(token)
        else:
            token = own.sample(rescored(candidates, scores)).token
        text.tokens.append(token)
        return Choice(token, known[token] - candidates.logsumexp)


def checked(name: str, scores: Any, known: Scores) -> Scores:
    """The scores that a processor has left, without those of -inf."""
    wrong: Any = None
    if not isinstance(scores, Mapping):
        wrong = scores
    else:
        for token, score in scores.items():
            number = isinstance(score, int | float) or hasattr(score, "__float__")  # numpy's, too
            if token not in known or not number or not float(score) < math.inf:
                wrong = {token: score}
                break
    if wrong is not None:
        raise RwkvError(
            "bad-hook-value",
            point=f"processor {name}",
            expected="a number for each token that may come, and for no other",
            found=repr(wrong)[:80],
        )
    return {token: float(score) for token, score in scores.items() if score > -math.inf}


def rescored(candidates: Candidates, scores: Scores) -> Candidates:
    """Candidates with these logits; logsumexp follows from what has changed, so top-p means the same as before."""
    ids: Sequence[int] = sorted(scores, key=lambda token: (-scores[token], token))
    logits, total = [scores[token] for token in ids], candidates.logsumexp
    rest = max(0.0, 1.0 - sum(math.exp(logit - total) for logit in candidates.logits))  # of the vocabulary beyond them, in units of e^total
    shift = max(total, logits[0])
    return Candidates(ids, logits, shift + math.log(rest * math.exp(total - shift) + sum(math.exp(logit - shift) for logit in logits)))
