"""Weights in textures: their extent, and which rectangles of texels a run of bytes is. web/engine/textures.js does the same in the page."""

from __future__ import annotations

from collections.abc import Iterator

from py_rwkv.program import TEXTURE_ROW, Buffer


def extent(buffer: Buffer) -> tuple[int, int, int]:
    """Width, height and depth in texels."""
    return TEXTURE_ROW // buffer.texel, buffer.nbytes // TEXTURE_ROW, 1


def rectangles(at: int, nbytes: int, texel: int) -> Iterator[tuple[int, tuple[int, int, int], tuple[int, int, int]]]:
    """Bytes `at … at + nbytes` of a texture as at most three rectangles: the first of the bytes, origin and extent in texels.

    `at` and `nbytes` are multiples of `texel`.
    """
    first, end = at, at + nbytes
    while first < end:
        y, x = divmod(first, TEXTURE_ROW)
        rows = (end - first) // TEXTURE_ROW if x == 0 else 0
        size = rows * TEXTURE_ROW or min(end - first, TEXTURE_ROW - x)
        yield first - at, (x // texel, y, 0), (min(size, TEXTURE_ROW) // texel, max(rows, 1), 1)
        first += size
