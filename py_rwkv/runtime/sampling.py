"""Choosing the next token from the best candidates that the device hands over. Knows nothing of text or sessions.

Order, that of the `rwkv` package (temperature comes after top-p, unlike in most libraries):

    l[t] += bias[t]                             every t of `logit_bias`
    l[t] -= presence + count[t] * frequency     every t generated before; counts decay by `penalty_decay` per generated token, then count[t] += 1
    p     = softmax(l)                          over the whole vocabulary
    top-p : keep p >= the p at which the sorted sum reaches top_p (equal ones stay)
    top-k : keep the k best                     0 = all
    p     = p ** (1 / temperature), renormalised, sampled          temperature 0: the best one; equals: the lowest id

Only 256 candidates come; the rest of the vocabulary takes part through `logsumexp`, corrected for the candidates that were penalised or
removed. What differs from the full computation is the tail beyond 256 candidates: it is never sampled, and penalties in it do not count. A token that
`logit_bias` favours is a candidate in any case; for that somebody has to fetch all logits (`Sampling.everything`, `Candidates.of_logits`).
"""

from __future__ import annotations

import math
import os
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from heapq import nlargest
from itertools import accumulate
from operator import neg
from typing import Any, NamedTuple

from py_rwkv.errors import RwkvError

MAX_BANNED = 128  # of 256 candidates, so that some are always left
MAX_BIASED = 1024  # entries of logit_bias


class Candidates(NamedTuple):
    """The best tokens of one step, highest logit first, equal logits lowest id first. Padding: any id >= vocab_limit, or logit -inf."""

    ids: Sequence[int]  # u32[<= 256]
    logits: Sequence[float]  # f32[<= 256]
    logsumexp: float  # over all logits of the step

    @classmethod
    def of_logits(cls, raw: bytes, more: Sequence[int] = (), without: Collection[int] = (), mask: bytes = b"") -> Candidates:
        """The best 256 of f32 logits [V] but for those of `without`, and `more` of them in any case; only what the mask (a bit per token) allows, if there is one."""
        logits = memoryview(raw).cast("f")
        if mask:
            bits = memoryview(f"{int.from_bytes(mask, 'little'):0{8 * len(mask)}b}"[::-1].encode())
            logits = memoryview(array("f", [x if i < len(bits) and bits[i] == 49 else -math.inf for i, x in enumerate(logits)]))
            without = {*without, *(i for i, x in enumerate(logits) if x == -math.inf)}
            more = [i for i in more if i not in without]
        ids = (i for i in range(len(logits)) if i not in without) if without else range(len(logits))
        best = nlargest(256, ids, key=logits.__getitem__)  # of equals the lowest id first
        if extra := set(more).difference(best):
            best = sorted([*best, *(i for i in extra if i < len(logits))], key=lambda i: (-logits[i], i))
        top = max(logits)
        total = top + math.log(sum(math.exp(x - top) for x in logits)) if math.isfinite(top) else math.nan
        return cls(best, [logits[i] for i in best], total)

    @classmethod
    def parse(cls, raw: bytes | bytearray | memoryview) -> Candidates:
        """One row of the `topk_select` kernel: u32[4 + 2K] = logsumexp (f32 bits), K, 0, 0, ids, logits (f32 bits)."""
        view = memoryview(raw).cast("B")
        middle = 16 + 4 * view[4:8].cast("I")[0]
        return cls(view[16:middle].cast("I"), view[middle : 2 * middle - 16].cast("f"), view[:4].cast("f")[0])


class Choice(NamedTuple):
    """A sampled token and its log-probability under the model itself (before penalties, top-p and temperature)."""

    token: int
    logprob: float


@dataclass(frozen=True)
class Sampling:
    """How to choose. Use `from_request` for anything a person wrote: it checks; the constructor does not."""

    temperature: float = 1.0
    top_p: float = 0.3
    top_k: int = 0
    presence_penalty: float = 0.5
    frequency_penalty: float = 0.5
    penalty_decay: float = 0.996
    seed: int | None = None
    ban: tuple[int, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()  # of tokens that are not banned

    @property
    def everything(self) -> bool:
        """Whether the best 256 candidates are not enough to choose from."""
        return len(self.ban) > MAX_BANNED or any(bias > 0 for _, bias in self.logit_bias)

    @classmethod
    def from_request(cls, defaults: Mapping[str, Any], request: Mapping[str, Any]) -> Sampling:
        """The request's values, where absent or None the defaults', where absent the ones above; other keys are not looked at.

        `bad-setting` names the field, what it may be and what was found.
        """
        chosen = {f.name: v for f in fields(cls) for source in (defaults, request) if (v := source.get(f.name)) is not None}
        checked: dict[str, Any] = {name: number(name, chosen[name], *bounds) for name, bounds in RANGES.items() if name in chosen}
        if "ban" in chosen:
            checked["ban"] = _token_ids("ban", chosen["ban"])
        if "logit_bias" in chosen:
            biases = _biases("logit_bias", chosen["logit_bias"])
            banned = (token for token, bias in biases.items() if bias <= -100)  # so the standard means it
            checked["ban"] = tuple(dict.fromkeys((*checked.get("ban", ()), *banned)))
            checked["logit_bias"] = tuple((token, bias) for token, bias in biases.items() if bias and token not in checked["ban"])
        return cls(**checked)


RANGES: dict[str, tuple[float, float, bool]] = {  # least, greatest, whole numbers only
    "temperature": (0, 10, False),
    "top_p": (0, 1, False),
    "top_k": (0, 1 << 24, True),
    "presence_penalty": (-10, 10, False),
    "frequency_penalty": (-10, 10, False),
    "penalty_decay": (0, 1, False),
    "seed": (-(1 << 63), (1 << 64) - 1, True),
}


def bad(name: str, expected: str, found: object) -> RwkvError:
    """`bad-setting` for a value as somebody wrote it."""
    shown = repr(found)
    return RwkvError("bad-setting", name=name, expected=expected, found=shown if len(shown) <= 80 else shown[:79] + "…")


def number(name: str, value: object, least: float, greatest: float, whole: bool = False) -> float | int:
    """`value` as float, or as int if `whole`, within [least, greatest]; `bad-setting` otherwise. True is not 1, NaN is nothing, 3.0 is whole."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= greatest
    if not good or (whole and value != int(value)):  # type: ignore[call-overload]
        raise bad(name, f"a {'whole ' if whole else ''}number from {least} to {greatest}", value)
    return int(value) if whole else float(value)  # type: ignore[call-overload,arg-type]


def _token_ids(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or len(value) > MAX_BANNED:
        raise bad(name, f"a list of at most {MAX_BANNED} token ids", value)
    return tuple(int(number(f"{name}[{i}]", token, 0, 65535, True)) for i, token in enumerate(value))


def _biases(name: str, value: object) -> dict[int, float]:
    """{token: bias}; the tokens of a JSON object are texts."""
    if not isinstance(value, Mapping) or len(value) > MAX_BIASED:
        raise bad(name, f"an object of at most {MAX_BIASED} token ids, each with a number from -100 to 100", value)
    ids = {str(key): int(key) if str(key).isascii() and str(key).isdecimal() else -1 for key in value}
    return {
        int(number(f"{name}.{key}"[:80], ids[str(key)], 0, 65535, True)): number(f"{name}.{key}"[:80], bias, -100, 100)
        for key, bias in value.items()
    }


def random_u32(seed: int, counter: int) -> int:
    """The `counter`-th random word of a seed: pcg3d (Jarzynski & Olano, JCGT 9(3), 2020) of (seed low, seed high, counter), first component.

    32-bit multiplications, additions and shifts only, so a shader can compute the same; no state, so a generation can resume at any token.
    """
    mask = 0xFFFFFFFF
    x, y, z = ((v & mask) * 1664525 + 1013904223 & mask for v in (seed, seed >> 32, counter))
    x = x + y * z & mask
    y = y + z * x & mask
    z = z + x * y & mask
    x, y, z = x ^ x >> 16, y ^ y >> 16, z ^ z >> 16
    return x + y * z & mask


class Sampler:
    """Samples one text: keeps its counts and its place in the random sequence. `seed` is the one in use, drawn from the system if none was given."""

    def __init__(self, sampling: Sampling, vocab_limit: int = 1 << 32) -> None:
        self.sampling = sampling
        self.seed = int.from_bytes(os.urandom(4), "little") if sampling.seed is None else sampling.seed
        self.drawn = 0  # tokens so far = the next counter
        self._limit = vocab_limit
        self._ban = frozenset(sampling.ban)
        self._bias = dict(sampling.logit_bias)
        # token → (its count just after it was last drawn, which draw that was); decay is applied when read, so a draw touches one entry
        self._counts: dict[int, tuple[float, int]] = {}

    def sample(self, candidates: Candidates) -> Choice:
        """Choose a token and count it. `not-a-number` if the model produced NaN or infinity, `no-candidates` if nothing may be chosen."""
        ids, logits, total = list(candidates.ids), list(candidates.logits), candidates.logsumexp
        if not ids or not math.isfinite(total) or math.isnan(logits[0]):
            raise RwkvError("not-a-number", where="the logits")
        ranked, normaliser = self._penalise(ids, logits, total)
        token = self._draw(ranked, normaliser)
        self._count(token)
        return Choice(token, logits[ids.index(token)] - total)

    def accept(self, token: int) -> None:
        """Count a token that was drawn elsewhere, as the next of this text."""
        self._count(token)

    def entries(self) -> Iterator[tuple[int, float, int]]:
        """(token, its count just after its last draw, that draw + 1) of every token drawn so far."""
        return ((token, value, when + 1) for token, (value, when) in self._counts.items())

    def count(self, token: int) -> float:
        """The decayed count of a token as the next sample sees it."""
        value, when = self._counts.get(token, (0.0, 0))
        return value * self.sampling.penalty_decay ** (self.drawn - when - 1) if value else 0.0

    def _count(self, token: int) -> None:
        value = self.count(token) * self.sampling.penalty_decay + 1.0
        self._counts[token] = (value, self.drawn)
        self.drawn += 1

    def _penalise(self, ids: list[int], logits: list[float], total: float) -> tuple[list[tuple[float, int]], float]:
        """(cost = -logit, id) lowest first after penalties, without what may not be chosen, and the logsumexp that belongs to them."""
        counts, ban, bias, limit = self._counts, self._ban, self._bias, self._limit
        special = [i for i, token in enumerate(ids) if token in counts or token in ban or token in bias or token >= limit]
        ranked = list(zip(map(neg, logits), ids, strict=True))
        if special:
            presence, frequency = self.sampling.presence_penalty, self.sampling.frequency_penalty
            rest = 1.0 - sum(math.exp(logits[i] - total) for i in special)  # everything else, in units of e^total
            for i in special:
                token = ids[i]
                penalty = (presence + self.count(token) * frequency if token in counts else 0.0) - bias.get(token, 0.0)
                ranked[i] = (math.inf if token in ban or token >= limit else penalty - logits[i], token)
            if rest < 1e-3:  # rounding would decide: the other candidates are a lower bound
                changed = set(special)
                rest = max(rest, sum(math.exp(logit - total) for i, logit in enumerate(logits) if i not in changed))
            costs = [ranked[i][0] for i in special]
            ranked.sort()
            best = -ranked[0][0]
            if best > -math.inf:
                shift = max(total, best) if rest > 0 else best  # keeps exp in range whatever the penalties are
                kept = rest * math.exp(total - shift) if rest > 0 else 0.0
                total = shift + math.log(kept + sum(math.exp(-cost - shift) for cost in costs))
        if ranked[-1][0] == math.inf:
            ranked = [entry for entry in ranked if entry[0] != math.inf]
        if not ranked:
            raise RwkvError("no-candidates")
        return ranked, total

    def _draw(self, ranked: list[tuple[float, int]], total: float) -> int:
        settings = self.sampling
        if settings.temperature == 0:
            return ranked[0][1]
        keep = len(ranked)
        if settings.top_p < 1:
            keep, reached = 1, math.exp(-ranked[0][0] - total)
            while reached < settings.top_p and keep < len(ranked):
                reached += math.exp(-ranked[keep][0] - total)
                keep += 1
            while keep < len(ranked) and ranked[keep][0] == ranked[keep - 1][0]:
                keep += 1
        if settings.top_k:
            keep = min(keep, settings.top_k)
        best = ranked[0][0]
        sums = list(accumulate(math.exp((best - cost) / settings.temperature) for cost, _ in ranked[:keep]))
        # 24 bits: exact in f32 as well as in f64.
        point = (random_u32(self.seed, self.drawn) >> 8) * 2.0**-24 * sums[-1]
        return ranked[bisect_right(sums, point, hi=keep - 1)][1]
