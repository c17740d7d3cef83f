"""Watches the recurrent state while a text is read: what every token did to each head of each layer, and how well the model saw it coming.

    change[l, h] = ‖S_t − S_{t−1}‖ / ‖S_t‖        Frobenius norms; 0 where the state is still zero
    logprob      = log p(token | tokens before)    None for the first token
    entropy      = −Σ p log p                      nats, over the whole vocabulary, of what comes next

S is the head's matrix `wkv`; RWKV-4 has none, and one "head" per layer: aa / bb, the average it answers with. One token at a time, the state read back after
each: for looking, not for speed. The numbers are computed by a Gauge: with numpy here, in web/engine/trace.js in the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from py_rwkv.checkpoint.state_file import Kind
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.generate import never

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32

MOST = 512  # tokens that are watched


class Gauge(Protocol):
    """Remembers the state it saw last, and compares."""

    async def state(self, slot: int) -> list[float] | None:
        """Look at a slot's state: the change since the last look, [L · H], layer by layer; None for the first look."""

    def logits(self, data: bytes, token: int) -> tuple[float, float]:
        """Of f32 logits [V]: the log-probability of a token, and the entropy in nats."""

    def norms(self) -> list[float]:
        """‖S‖ of the state seen last, [L · H]."""


class NumpyGauge:
    """`wkv`: the state seen last, f32 [L, H, N, N]; [L, 1, C] for RWKV-4."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.kind = engine, Kind.of(engine.config)
        self.wkv: F32 | None = None

    async def state(self, slot: int) -> list[float] | None:
        before, self.wkv = self.wkv, self._read(await self.engine.read_state(slot))
        if before is None:
            return None
        size = self._norms(self.wkv)
        change = self._norms(self.wkv - before) / np.where(size > 0, size, 1)
        return [float(x) for x in change]

    def logits(self, data: bytes, token: int) -> tuple[float, float]:
        logits = np.frombuffer(data, "<f4").astype(np.float64)
        logs = logits - logits.max()
        logs -= math.log(np.exp(logs).sum())
        p = np.exp(logs)
        return float(logs[token]), float(-(p * np.where(p > 0, logs, 0)).sum())

    def norms(self) -> list[float]:
        assert self.wkv is not None
        return [float(x) for x in self._norms(self.wkv)]

    def _read(self, buffers: Mapping[str, bytes]) -> F32:
        k = self.kind
        found: F32 = np.stack([np.frombuffer(buffers[f"state.{i}.wkv"], "<f4") for i in range(k.layers)])
        if k.version == "4":
            aa, bb = found[:, : k.embd], found[:, k.embd : 2 * k.embd]
            return np.ascontiguousarray((aa / np.where(bb > 0, bb, 1))[:, None], "<f4")
        return found.reshape(k.layers, k.heads, k.head_size, k.head_size)

    def _norms(self, wkv: F32) -> Any:
        return np.sqrt(np.square(wkv.astype(np.float64)).reshape(self.kind.layers * self.kind.heads, -1).sum(1))


async def trace(
    engine: Engine,
    tokens: list[int],
    gauge: Gauge,
    emit: Callable[[dict[str, Any]], None],
    *,
    start: Callable[[Any], Any] | None = None,
    skip: int = 0,
    cancel: Callable[[], bool] = never,
) -> dict[str, Any]:
    """Read tokens one by one in a session of its own; `emit` gets {index, id, text, bytes, logprob, entropy, change} of each.

    Returns {tokens, layers, heads, head_size, norms}: how many were read, and ‖S‖ at the end, [L · H]. start: puts a session at another start than the engine's;
    skip: how many of the tokens are read at once, before the watching begins.
    RwkvErrors `empty-prompt`, `prompt-too-long`, `no-free-slot`, `cancelled`.
    """
    if len(tokens) - skip > MOST:
        raise RwkvError("prompt-too-long", tokens=len(tokens), limit=MOST)
    engine.check_tokens(tokens)
    kind, session = Kind.of(engine.config), engine.session()
    try:
        if start:
            await start(session)
        logprob: float | None = None
        if skip:
            logprob, _ = gauge.logits(await session.feed(tokens[:skip], "last", cancel), tokens[skip])
        await gauge.state(session.slot)
        for i, token in enumerate(tokens[skip:], skip):
            if cancel():
                raise RwkvError("cancelled")
            logits = await session.feed([token], "last")
            change = await gauge.state(session.slot)
            following, entropy = gauge.logits(logits, tokens[i + 1] if i + 1 < len(tokens) else 0)
            data = engine.tokenizer.token_bytes(token)
            text = {"index": i, "id": token, "text": data.decode("utf-8", "replace"), "bytes": list(data)}
            emit(text | {"logprob": logprob, "entropy": entropy, "change": change})
            logprob = following
        return {"tokens": len(tokens), "layers": kind.layers, "heads": kind.heads, "head_size": kind.head_size, "norms": gauge.norms()}
    finally:
        session.close()
