"""The K best of V logits, best first, and log Σ exp of all of them: four dispatches, no sort, ties to the lower id.

1. the best logit of each of GROUPS strided groups;  2. the K-th best of those is a bar that at least K logits reach;
3. gather everything that reaches it (only K groups can hold such logits);  4. rank the few hundred gathered ones against each other.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_OUTPUT, Constants, Dim, kernel
from py_rwkv.lazy import np

K = 256


def sizes(vocab: int, limit: int) -> dict[str, int]:
    """Constants for a vocabulary of which the first `limit` ids may be sampled."""
    k = min(K, limit)
    groups = min(512, limit)
    return {"V": vocab, "LIMIT": limit, "K": k, "GROUPS": groups, "CAPACITY": k * -(-limit // groups), "THREADS": 512, "WG": 64}


def _grid(c: Constants) -> tuple[Dim, ...]:
    return Dim(c["GROUPS"], c["WG"]), PER_OUTPUT


_CASES = (sizes(256, 256), sizes(1000, 900), sizes(65536, 65530), sizes(100, 100))


def _order(logits: Any, ids: Any) -> Any:
    """Indices that sort by logit descending, then id ascending."""
    return np.lexsort((ids, -logits))


topk_groups = kernel(
    "topk_groups",
    reads={"logits": "f32[outputs,V]"},
    writes={"best": "f32[outputs,GROUPS,4]"},
    constants=("V", "LIMIT", "GROUPS", "WG"),
    grid=_grid,
    cases=_CASES,
)


@topk_groups.reference
def _(step: Any, c: Any, memo: Any, logits: Any, best: Any) -> None:
    depth = -(-c.LIMIT // c.GROUPS)
    for row, out in zip(logits, best, strict=True):
        table = np.full(depth * c.GROUPS, -np.inf, np.float32)
        table[: c.LIMIT] = row[: c.LIMIT]
        table = table.reshape(depth, c.GROUPS)
        place = table.argmax(0)
        out[:, 0] = table.max(0)
        out[:, 1] = (place * c.GROUPS + np.arange(c.GROUPS)).astype(np.uint32).view(np.float32)
        out[:, 2] = np.exp(table - out[:, 0]).sum(0)
        out[:, 3] = 0


def _fill_best(rng: Any, c: Any, **arrays: Any) -> None:
    if "logits" in arrays:
        arrays["logits"][:, ::3] = 0.25  # plenty of ties
        topk_groups.run(None, c, None, logits=arrays["logits"], best=arrays["best"])
    else:
        ids = np.stack([rng.permutation(c.LIMIT)[: c.GROUPS] for _ in arrays["best"]])
        arrays["best"][..., 1] = ids.astype(np.uint32).view(np.float32)
        arrays["best"][..., 2] = np.abs(arrays["best"][..., 2]) + 1


topk_threshold = kernel(
    "topk_threshold",
    reads={"best": "f32[outputs,GROUPS,4]"},
    writes={"threshold": "u32[outputs,4]"},
    constants=("K", "GROUPS", "WG"),
    grid=_grid,
    cases=_CASES,
    prepare=_fill_best,
)


@topk_threshold.reference
def _(step: Any, c: Any, memo: Any, best: Any, threshold: Any) -> None:
    for groups, out in zip(best, threshold, strict=True):
        ids = groups[:, 1].view(np.uint32) if groups[:, 1].flags.c_contiguous else np.ascontiguousarray(groups[:, 1]).view(np.uint32)
        bar = _order(groups[:, 0], ids)[c.K - 1]
        top = groups[:, 0].max()
        total = np.float32(top + np.log((groups[:, 2] * np.exp(groups[:, 0] - top)).sum()))
        out[:] = [np.float32(groups[bar, 0]).view(np.uint32), ids[bar], total.view(np.uint32), 0]


def _fill_threshold(rng: Any, c: Any, **arrays: Any) -> None:
    _fill_best(rng, c, **arrays)
    topk_threshold.run(None, c, None, best=arrays["best"], threshold=arrays["threshold"])


topk_gather = kernel(
    "topk_gather",
    reads={"logits": "f32[outputs,V]", "best": "f32[outputs,GROUPS,4]"},
    writes={"threshold": "u32[outputs,4]", "found": "u32[outputs,CAPACITY]"},
    constants=("V", "LIMIT", "GROUPS", "CAPACITY", "WG"),
    grid=_grid,
    cases=_CASES,
    prepare=_fill_threshold,
    unordered=("found",),
)


@topk_gather.reference
def _(step: Any, c: Any, memo: Any, logits: Any, best: Any, threshold: Any, found: Any) -> None:
    for row, bar, out in zip(logits[:, : c.LIMIT], threshold, found, strict=True):
        level = bar[:1].view(np.float32)[0]
        ids = np.flatnonzero((row > level) | ((row == level) & (np.arange(c.LIMIT) <= bar[1])))
        bar[3] = len(ids)
        out[: len(ids)] = ids


def _fill_found(rng: Any, c: Any, **arrays: Any) -> None:
    best = np.empty((len(arrays["logits"]), c.GROUPS, 4), np.float32)
    _fill_threshold(rng, c, logits=arrays["logits"], best=best, threshold=arrays["threshold"])
    topk_gather.run(None, c, None, logits=arrays["logits"], best=best, threshold=arrays["threshold"], found=arrays["found"])
    for bar, ids in zip(arrays["threshold"], arrays["found"], strict=True):
        ids[: bar[3]] = rng.permutation(ids[: bar[3]])


topk_rank = kernel(
    "topk_rank",
    reads={"logits": "f32[outputs,V]", "threshold": "u32[outputs,4]", "found": "u32[outputs,CAPACITY]"},
    writes={"candidates": "u32[outputs,4+2*K]"},
    constants=("V", "K", "CAPACITY", "THREADS", "WG"),
    grid=lambda c: (Dim(c["THREADS"], c["WG"]), PER_OUTPUT),
    cases=_CASES,
    prepare=_fill_found,
)


@topk_rank.reference
def _(step: Any, c: Any, memo: Any, logits: Any, threshold: Any, found: Any, candidates: Any) -> None:
    for row, bar, ids, out in zip(logits, threshold, found, candidates, strict=True):
        ids = ids[: bar[3]]
        best = ids[_order(row[ids], ids)[: c.K]]
        out[:4] = [bar[2], c.K, 0, 0]
        out[4 : 4 + c.K] = best
        out[4 + c.K :] = row[best].view(np.uint32)
