"""The next token of every output row, chosen on the device: what `runtime/sampling.py` does in Python, in f32.

A sampler is 28 words per slot, `pack` says which. Counts decay when they are read, so a draw touches one of them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from py_rwkv.kernels.base import PER_OUTPUT, Dim, kernel
from py_rwkv.lazy import np

RING = 64  # draws that a slot's ring remembers
MAX_STOPS = 16
WORDS = 12 + MAX_STOPS
NEVER = 3e38
BANNED = 0xFFFFFFFF
HALTS = ("", "stop", "length", "not-a-number", "no-candidates")  # by the value of `halted`
LEAST_LOG = -1e30  # stands for log 0


def pack(
    *,
    temperature: float,
    top_p: float,
    top_k: int,
    presence: float,
    frequency: float,
    decay: float,
    seed: int,
    drawn: int,
    limit: int,
    stops: Sequence[int],
) -> bytes:
    """A sampler as shaders/sample.wgsl reads it. `limit`: how many tokens may be drawn in all; stops: at most MAX_STOPS token ids."""
    head = struct.pack(
        "<2fI3f2I", temperature, top_p, top_k, presence, frequency, math.log(decay) if decay > 0 else LEAST_LOG, *_halves(seed)
    )
    return head + struct.pack(f"<4I{MAX_STOPS}I", drawn, limit, len(stops), 0, *stops, *[0] * (MAX_STOPS - len(stops)))


def _halves(seed: int) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF


def _prepare(rng: Any, c: Any, candidates: Any, samplers: Any, counts: Any, ring: Any) -> None:
    """Sorted candidates, every kind of setting, some counts and bans."""
    v, k = c.V, c.K
    for out in candidates:
        ids = rng.permutation(v)[:k].astype(np.uint32)
        logits = np.sort(rng.standard_normal(k).astype(np.float32) * 3)[::-1]
        logits[3:6] = logits[3]
        ids[3:6].sort()
        out[:4] = [np.float32(np.log(np.exp(logits.astype(np.float64)).sum() * 1.1)).view(np.uint32), k, 0, 0]
        out[4 : 4 + k], out[4 + k :] = ids, logits.view(np.uint32)
    counts[:] = 0
    ring[:] = 0
    for slot in range(len(samplers)):
        drawn = int(rng.integers(5, 50))
        some = rng.permutation(v)[: v // 3]
        counts[slot, some, 0] = rng.uniform(0, 3, len(some)).astype(np.float32).view(np.uint32)
        counts[slot, some, 1] = rng.integers(1, drawn, len(some))
        counts[slot, rng.permutation(v)[: v // 10], 1] = BANNED
        words = pack(
            temperature=float(rng.choice([0, 0.5, 1, 2])),
            top_p=float(rng.choice([0, 0.3, 0.9, 1])),
            top_k=int(rng.choice([0, 0, 1, 20])),
            presence=float(rng.uniform(-1, 1)),
            frequency=float(rng.uniform(-1, 1)),
            decay=float(rng.choice([0, 0.9, 0.996, 1])),
            seed=int(rng.integers(1 << 63)),
            drawn=drawn,
            limit=drawn + int(rng.integers(1, 3)),
            stops=[int(t) for t in rng.integers(0, v, 5)],
        )
        samplers[slot] = np.frombuffer(words, np.uint32)


sample = kernel(
    "sample",
    reads={"candidates": "u32[outputs,4+2*K]"},
    writes={"samplers": f"u32[slots,{WORDS}]", "counts": "u32[slots,V,2]", "ring": f"u32[slots,{RING},2]"},
    constants=("V", "K", "WG"),
    grid=lambda c: (Dim(), PER_OUTPUT),
    cases=({"V": 1000, "K": 256, "WG": 64}, {"V": 100, "K": 100, "WG": 16}),
    prepare=_prepare,
    writes_step=True,
)


@sample.reference
def _(step: Any, c: Any, memo: Any, candidates: Any, samplers: Any, counts: Any, ring: Any) -> None:
    """Leaves the step alone: only devices that replay without coming back need the token there."""
    from py_rwkv.runtime.sampling import random_u32

    f = np.float32
    for out, row in zip(candidates, step.output_rows, strict=True):
        if all(row != last for _, last in step.spans):
            continue  # only the last row of a run draws
        s, count = samplers[slot := step.slots[row]], counts[step.slots[row]]
        temperature, top_p = s[:2].view(f)
        presence, frequency, log_decay = s[3:6].view(f)
        drawn = s[8]
        ids, logits, before = out[4 : 4 + c.K], out[4 + c.K :].view(f), out[:1].view(f)[0]

        def count_of(entries: Any, log_decay: Any = log_decay, drawn: Any = drawn) -> Any:
            age = (drawn - entries[..., 1]).astype(f)
            return np.where(entries[..., 1] != 0, entries[..., 0].copy().view(f) * np.exp(log_decay * age), f(0))

        entries = count[ids]
        changed, banned = entries[:, 1] != 0, entries[:, 1] == BANNED
        costs = np.where(banned, f(NEVER), np.where(changed, presence + count_of(entries) * frequency, f(0)) - logits)
        order = np.lexsort((ids, costs))
        n = int((~banned).sum())
        if not np.isfinite(before) or n == 0:
            s[11] = 4 if np.isfinite(before) else 3
            ring[slot, drawn % RING] = BANNED, s[11]
            continue
        total = before
        if changed.any():
            rest = max(1 - np.exp(logits[changed] - before).sum(), 0)
            rest = rest if rest >= 1e-3 else max(rest, np.exp(logits[~changed] - before).sum())
            best = -costs[order[0]]
            shift = max(before, best) if rest > 0 else best
            total = shift + np.log(rest * np.exp(before - shift) + np.exp(-costs[changed & ~banned] - shift).sum())
        keep = n
        ranked = costs[order[:n]]
        if temperature == 0:
            keep = 1
        elif top_p < 1:
            reached = np.cumsum(np.exp(-ranked - total))
            keep = min(int((reached < top_p).sum()) + 1, n)
            while keep < n and ranked[keep] == ranked[keep - 1]:
                keep += 1
        keep = min(keep, int(s[2])) if s[2] and temperature else keep
        place = 0
        if temperature:
            sums = np.cumsum(np.exp((ranked[0] - ranked[:keep]) / temperature))
            point = (random_u32(int(s[6]) | int(s[7]) << 32, int(drawn)) >> 8) * 2.0**-24 * sums[-1]
            place = min(int((sums <= point).sum()), keep - 1)
        chosen = order[place]
        token = ids[chosen]
        count[token] = f(count_of(count[token]) * np.exp(log_decay) + 1).view(np.uint32), drawn + 1
        ring[slot, drawn % RING] = token, f(logits[chosen] - before).view(np.uint32)
        s[8] = drawn + 1
        s[11] = 1 if token in s[12 : 12 + s[10]] else 2 if drawn + 1 >= s[9] else 0
