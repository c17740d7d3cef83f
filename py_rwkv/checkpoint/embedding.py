"""The embedding and its first LayerNorm: folding `blocks.0.ln0` into the rows when a model is packed, and the way back when one is exported.

The way back cannot find the original rows (a LayerNorm forgets their mean and, up to its eps, their length), but rows with the same effect. Every reader gets
that to rounding; this one, told by NORMALIZED in a file's metadata, folds them to exactly the numbers they were made of. Two things make that possible: folding
rounds to a grid (2⁻²⁰ of the gain) that f32 rows can hit, and NORMALIZED rows are not centred again, because rounding has moved their mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.quant.encoding import F32

EPS = 1e-5
NORMALIZED = {"rwkv_embedding": "normalized"}  # metadata of files whose rows were made by `unfold`
LONGEST = 10.0  # mean square of an unfolded row whose variance does not tell its length any more
LIMIT = 12  # normalized values of a channel are not larger, but for outliers


def fold(x: F32, gain: F32, bias: F32, *, normalized: bool = False) -> F32:
    """LayerNorm (eps 1e-5) of the rows x [n, C], in f64, rounded to the grid and to f32. `normalized`: the rows come from `unfold`."""
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):  # the caller looks at the result
        wide = x.astype(np.float64)
        mean, square = wide.mean(axis=1, keepdims=True), _square(wide)
        if normalized:
            scale = np.sqrt(np.minimum(square + EPS, LONGEST))
        else:
            wide -= mean
            scale = np.sqrt(_square(wide) + EPS)
        grid = np.ldexp(1.0, np.frexp(gain)[1] - 20)
        wide /= scale
        wide *= gain / grid
        wide += bias / grid
        np.rint(wide, out=wide)
        wide *= grid
        return wide.astype(np.float32)


def unfold(e: F32, gain: F32, bias: F32, precision: float = 2**-24) -> F32:
    """f32 rows [n, C] whose LayerNorm is `e`, whose numbers were rounded by up to `precision` of their size.

    The mean square s of the normalized rows is v / (v + eps) for rows of variance v, which tells their length, unless it is so near 1 (or, rounded, above it)
    that the length does not matter.
    """
    out = np.empty(e.shape, np.float32)
    hidden = precision * np.abs(bias) >= 0.1 * np.abs(gain)  # so small a gain leaves nothing of a channel but its rounding
    signs = np.where(np.cumsum(hidden) % 2, 1.0, -1.0)[hidden]
    for first in range(0, len(e), 4096):
        rows = e[first : first + 4096].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            x = np.where(gain != 0, (rows - bias) / gain, 0)
            usual = np.sqrt(_square(x[:, ~hidden])) if not hidden.all() else np.ones((len(x), 1))
            for guess in (np.clip(x[:, hidden], -LIMIT, LIMIT), usual * signs):  # the last that rounds alike
                alike = np.abs(guess * gain[hidden] + bias[hidden] - rows[:, hidden]) <= 0.9 * precision * np.abs(rows[:, hidden])
                x[:, hidden] = np.where(alike | (gain[hidden] == 0), guess, x[:, hidden])
            square = _square(x)
            out[first : first + 4096] = x * np.sqrt(np.minimum(EPS / np.maximum(1 - square, EPS / LONGEST), LONGEST))
    return out


def _square(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean square of every row: [n, 1]."""
    out: NDArray[np.float64] = (np.einsum("ij,ij->i", x, x) / x.shape[1])[:, None]
    return out
