"""Activations by number, as in shaders/lib/activation.wgsl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py_rwkv.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray

NONE, TANH, SIGMOID, RELU2, SILU = range(5)


def sigmoid(v: ndarray) -> Any:
    return 1.0 / (1.0 + np.exp(-v))


def activate(kind: int, v: ndarray) -> Any:
    """One activation of a whole array."""
    if kind == TANH:
        return np.tanh(v)
    if kind == SIGMOID:
        return sigmoid(v)
    if kind == SILU:
        return v * sigmoid(v)
    return np.square(np.maximum(v, 0)) if kind == RELU2 else v
