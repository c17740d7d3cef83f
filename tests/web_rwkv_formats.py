"""web-rwkv's quantized formats as functions w → what is left of w, to measure ours against. Formulas: its quant_mat_int8.wgsl and quant_mat_nf4.wgsl.

It reads f16 and takes blocks along the flattened matrix; a matrix here whose size is no multiple of a block (there, an error) gets a shorter last one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NF4 = (
    *(
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
    ),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
    *(0.7229568362236023, 1.0),
)


def int8(w: np.ndarray) -> np.ndarray:
    """Blocks of 128: the smallest and the largest in f16, and 255 steps between them (8.25 bits)."""

    def block(x: np.ndarray) -> np.ndarray:
        low, high = x.min(1, keepdims=True), x.max(1, keepdims=True)
        span = np.where(high > low, high - low, 1)
        return np.rint(np.clip((x - low) / span, 0, 1) * 255) / 255 * (high - low) + low

    return by_blocks(w, 128, block)


def nf4(w: np.ndarray) -> np.ndarray:
    """Blocks of 64: the largest magnitude in f16, and for each weight the nearest of 16 multiples (4.25 bits)."""
    values = np.array(NF4, "f4")

    def block(x: np.ndarray) -> np.ndarray:
        largest = np.abs(x).max(1, keepdims=True)
        return values[np.abs(x[:, :, None] / np.where(largest > 0, largest, 1)[:, :, None] - values).argmin(2)] * largest

    return by_blocks(w, 64, block)


def by_blocks(w: np.ndarray, size: int, block: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    flat, out = w.astype("f2").astype("f4").reshape(-1), np.empty(w.size, "f4")
    whole = w.size // size * size
    for first in range(0, whole, 4096 * size):
        part = slice(first, min(first + 4096 * size, whole))
        out[part] = block(flat[part].reshape(-1, size)).reshape(-1)
    if whole < w.size:
        out[whole:] = block(flat[None, whole:])[0]
    return out.reshape(w.shape)


FORMATS = {"int8": int8, "nf4": nf4}
