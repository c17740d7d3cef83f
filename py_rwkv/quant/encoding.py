"""What a weight encoding is: its name, the parts it stores for a matrix, and how numbers become parts and come back. Knows no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from py_rwkv.lazy import np

    F32 = NDArray[np.float32]
    Parts = dict[str, NDArray[Any]]  # suffix of the stored tensor's name ("" for the weights themselves) -> array; first axis: rows


@dataclass(frozen=True)
class Encoding:
    """One way to store a matrix f32 [M, K] row by row; every part's first axis is M, so that rows can be cut, joined and repeated.

    layout: (M, K) -> {suffix: (safetensors dtype, shape)};  largest: the largest magnitude it can store.
    """

    name: str
    bytes_per_weight: float
    largest: float
    layout: Callable[[int, int], dict[str, tuple[str, tuple[int, ...]]]]
    encode: Callable[[F32], Parts]
    decode: Callable[[Parts], F32]
