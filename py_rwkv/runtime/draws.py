"""Drawing on the device: what a slot's sampler is told when a text begins, how many tokens a submit makes, and what comes back. See kernels/sample.py."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from time import perf_counter

from py_rwkv.devices.base import Device
from py_rwkv.kernels.sample import BANNED, HALTS, MAX_STOPS, RING, WORDS, pack
from py_rwkv.runtime.sampling import Sampler
from py_rwkv.runtime.scheduler import Work

SECONDS = 0.1  # of work that a submit takes to: text still flows, and a stop is not felt
MOST = 16  # tokens a submit makes


class Draws:
    """The samplers of a device's slots. `fixed`: tokens per submit, in place of what fits into SECONDS."""

    def __init__(self, device: Device, vocab: int, slots: int) -> None:
        self.device, self.vocab = device, vocab
        self.ring_bytes = 8 * RING * slots
        self.fixed: int | None = None
        self._seconds = SECONDS  # a token's, lately
        self._stops: dict[int, frozenset[int]] = {}

    def begin(self, slot: int, sampler: Sampler, stops: Sequence[int], limit: int) -> bool:
        """Tell the slot's sampler how to draw, what was drawn so far, and where to end; False if it cannot do that."""
        if len(stops) > MAX_STOPS:
            return False
        s = sampler.sampling
        words = pack(
            temperature=s.temperature,
            top_p=s.top_p,
            top_k=s.top_k,
            presence=s.presence_penalty,
            frequency=s.frequency_penalty,
            decay=s.penalty_decay,
            seed=sampler.seed,
            drawn=sampler.drawn,
            limit=limit,
            stops=stops,
        )
        self.device.write("samplers", 4 * WORDS * slot, words)
        self._stops[slot] = frozenset(stops)
        table = 8 * self.vocab * slot
        self.device.clear("counts", table, 8 * self.vocab)
        for token, count, when in sampler.entries():
            self.device.write("counts", table + 8 * token, struct.pack("<fI", count, when))
        for token in s.ban:
            if token < self.vocab:
                self.device.write("counts", table + 8 * token, struct.pack("<II", 0, BANNED))
        return True

    def times(self, works: Sequence[Work]) -> int:
        """How often a step in which all of them draw is replayed in one submit."""
        often = self.fixed or int(SECONDS / self._seconds)
        return max(1, min(often, MOST, *(w.most for w in works)))

    def measured(self, began: float, times: int) -> None:
        """So long took the last submit; a slow one may have been an accident, so trust grows by halves."""
        self._seconds = (self._seconds + (perf_counter() - began) / times) / 2

    def deliver(self, work: Work, times: int, ring: memoryview) -> None:
        """Put what the slot's ring holds into the work, to the token at which it halted."""
        words, floats, stops = ring.cast("I"), ring.cast("f"), self._stops[work.slot]
        for i in range(work.counter, work.counter + times):
            at = 2 * (RING * work.slot + i % RING)
            if (token := words[at]) == BANNED:
                work.failure = HALTS[words[at + 1]]
                break
            work.draws.append((token, floats[at + 1]))
            if token in stops:
                break
        work.seen.extend(token for token, _ in work.draws[:-1])
