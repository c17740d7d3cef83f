"""An answer read again: what each of its tokens competed with, in the shape of `logprobs` (`chat/logprobs.py`), for answers that came without."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from py_rwkv.chat.conversation import Conversation
from py_rwkv.chat.logprobs import entry
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import never
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import Tokenizer


async def read(
    conversation: Conversation,
    tokenizer: Tokenizer,
    rest: Sequence[int],
    candidates: Candidates | None,
    answer: Sequence[int],
    top: int,
    emit: Callable[[dict[str, Any]], None],
    cancel: Callable[[], bool] = never,
) -> None:
    """Feed what the state lacks of the prompt (`rest`; if nothing, `candidates` is known), then the answer token by token; `emit` gets an entry of each, with its
    `index` in the answer.

    An entry of a token that is not among the 256 best says so (`rare`): its `logprob` is that of the last of them, which it cannot exceed.
    RwkvErrors `cancelled`, `not-a-number`, and what the session raises; the conversation stays usable.
    """
    session = conversation.session
    try:
        if rest:
            candidates = await session.prefill(rest, cancel)
        for i, token in enumerate(answer):
            if cancel():
                raise RwkvError("cancelled")
            if i:
                candidates = await session.step(answer[i - 1])
            assert candidates is not None
            known = {t: logit for t, logit in zip(candidates.ids, candidates.logits, strict=True) if t < tokenizer.vocab_limit}
            if not known or not math.isfinite(candidates.logsumexp):
                raise RwkvError("not-a-number", where="the logits")
            logprob = known.get(token, min(known.values())) - candidates.logsumexp
            rare = {} if token in known else {"rare": True}
            emit({"index": i} | entry(tokenizer, token, logprob, candidates, top) | rare)
    except RwkvError as e:
        if e.code != "cancelled":
            conversation.forget()
        raise
