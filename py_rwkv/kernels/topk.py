"""The K best of V logits, best first, and log Σ exp of all of them: two dispatches, no sort, ties to the lower id.

1. `topk_groups`: the best logit of each of GROUPS strided groups;  2. `topk_select`: the K-th best of those is a bar that at least K logits reach;
everything that reaches it is gathered (only K groups can hold such logits, and few of them more than one), and the few hundred gathered ones are ranked
   against each other.

An output whose step says so is masked: tokens without a bit in its mask get the logit NEVER, so they count for nothing, and are candidates only where fewer
than K tokens are allowed.
"""

from __future__ import annotations

from typing import Any

from py_rwkv.kernels.base import PER_OUTPUT, Constants, Dim, kernel
from py_rwkv.lazy import np

K = 256
NEVER = -1e30  # the logit of a token that a mask forbids


def sizes(vocab: int, limit: int, reduce: str = "many") -> dict[str, Any]:
    """Constants for a vocabulary of which the first `limit` ids may be sampled.

    reduce: "one" keeps nothing in workgroup memory but what is counted there; "4", "8" neither, and the invocations of a subgroup, so many, share what they load.
    """
    k = min(K, limit)
    groups = min(512, limit)
    return {
        "V": vocab,
        "LIMIT": limit,
        "WORDS": -(-vocab // 32),
        "K": k,
        "GROUPS": groups,
        "CAPACITY": k * -(-limit // groups),
        "WG": 64 if reduce == "many" else 16,
        "reduce": reduce,
    }


def _grid(c: Constants) -> tuple[Dim, ...]:
    return Dim(c["GROUPS"], c["WG"]), PER_OUTPUT


_CASES = tuple(sizes(v, n, r) for v, n in ((256, 256), (1000, 900), (65536, 65530), (100, 100), (277, 277)) for r in ("one", "many", "8"))


def _order(logits: Any, ids: Any) -> Any:
    """Indices that sort by logit descending, then id ascending."""
    return np.lexsort((ids, -logits))


def _fill_masks(rng: Any, c: Any, masks: Any, **_: Any) -> None:
    """Masks of all kinds: half of the tokens, a few, none."""
    masks[:] = rng.integers(0, 1 << 32, masks.shape, dtype=np.uint32)
    masks[1::3] = 0
    masks[1::3, 1] = 6
    masks[2::3] = 0


topk_groups = kernel(
    "topk_groups",
    reads={"masks": "u32[outputs,WORDS]"},
    writes={"logits": "f32[outputs,V]", "best": "f32[outputs,GROUPS,4]"},
    constants=("V", "LIMIT", "WORDS", "GROUPS", "WG"),
    grid=_grid,
    cases=_CASES,
    prepare=_fill_masks,
)


@topk_groups.reference
def _(step: Any, c: Any, memo: Any, masks: Any, logits: Any, best: Any) -> None:
    for i, masked in enumerate(step.masked if step else ()):
        if masked:
            allowed = np.unpackbits(masks[i].view(np.uint8), bitorder="little")[: c.LIMIT]
            logits[i, : c.LIMIT][allowed == 0] = NEVER
    depth = -(-c.LIMIT // c.GROUPS)
    for row, out in zip(logits, best, strict=True):
        table = np.full(depth * c.GROUPS, -np.inf, np.float32)
        table[: c.LIMIT] = row[: c.LIMIT]
        table = table.reshape(depth, c.GROUPS)
        place = table.argmax(0)
        out[:, 0] = table.max(0)
        out[:, 1] = (place * c.GROUPS + np.arange(c.GROUPS)).astype(np.uint32).view(np.float32)
        out[:, 2] = np.exp(table - out[:, 0]).sum(0)
        table[place, np.arange(c.GROUPS)] = NEVER
        out[:, 3] = np.maximum(table.max(0), NEVER)


def _fill_groups(rng: Any, c: Any, logits: Any, best: Any, found: Any, **_: Any) -> None:
    """The best of each group, and room for whatever is found: its order is nobody's business."""
    logits[:, ::3] = 0.25  # plenty of ties
    topk_groups.run(None, c, None, masks=None, logits=logits, best=best)
    found[:] = 0


topk_select = kernel(
    "topk_select",
    reads={"logits": "f32[outputs,V]", "best": "f32[outputs,GROUPS,4]"},
    writes={"found": "u32[outputs,2*CAPACITY+GROUPS]", "candidates": "u32[outputs,4+2*K]"},
    constants=("V", "LIMIT", "K", "GROUPS", "CAPACITY", "WG", "reduce"),
    grid=lambda c: (Dim(), PER_OUTPUT),
    cases=_CASES,
    prepare=_fill_groups,
    unordered=("found",),
)


@topk_select.reference
def _(step: Any, c: Any, memo: Any, logits: Any, best: Any, found: Any, candidates: Any) -> None:
    for row, groups, listed, out in zip(logits[:, : c.LIMIT], best, found, candidates, strict=True):
        ids = np.ascontiguousarray(groups[:, 1]).view(np.uint32)
        bar = _order(groups[:, 0], ids)[c.K - 1]
        level = groups[bar, 0]
        gathered = np.flatnonzero((row > level) | ((row == level) & (np.arange(c.LIMIT) <= ids[bar]))).astype(np.uint32)
        search = np.flatnonzero(groups[:, 3] >= level)  # the other groups have nothing but their best
        for at, values in ((0, gathered), (c.CAPACITY, row[gathered].view(np.uint32)), (2 * c.CAPACITY, search)):
            listed[at : at + len(values)] = values
        top = groups[:, 0].max()
        total = np.float32(top + np.log((groups[:, 2] * np.exp(groups[:, 0] - top)).sum()))
        chosen = gathered[_order(row[gathered], gathered)[: c.K]]
        out[:4] = [total.view(np.uint32), c.K, 0, 0]
        count = len(chosen)  # fewer than K where there is a NaN
        out[4 : 4 + count], out[4 + c.K :][:count] = chosen, row[chosen].view(np.uint32)
