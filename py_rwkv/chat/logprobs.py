"""What a token competed with, in OpenAI's shape, with ours beside it: `id` and `entropy`."""

from __future__ import annotations

from math import exp, log
from typing import Any

from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import Tokenizer

MOST = 20  # top_logprobs


def entropy(candidates: Candidates) -> float:
    """Nats over the candidates (at most 256), and all other tokens as if they were one: a lower bound, by what the tail hides in itself."""
    total, rest = 0.0, 1.0
    for logit in candidates.logits:
        p = exp(logit - candidates.logsumexp)
        total -= p * log(p) if p > 0 else 0.0
        rest -= p
    return total - rest * log(rest) if rest > 1e-9 else total


def entry(tokenizer: Tokenizer, token: int, logprob: float, candidates: Candidates, top: int) -> dict[str, Any]:
    """One token of `logprobs.content`. Natural logs of the model's own probabilities, before penalties, top-p and temperature."""
    best = [(t, logit) for t, logit in zip(candidates.ids, candidates.logits, strict=True) if t < tokenizer.vocab_limit][:top]
    tops = [_token(tokenizer, t) | {"logprob": logit - candidates.logsumexp} for t, logit in best]
    return _token(tokenizer, token) | {"logprob": logprob, "entropy": entropy(candidates), "top_logprobs": tops}


def _token(tokenizer: Tokenizer, token: int) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "id": token}
