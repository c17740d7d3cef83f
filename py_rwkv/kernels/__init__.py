"""The kernels: importing this package registers all of them in `KERNELS`."""

from py_rwkv.kernels import (
    embed,
    layer_mix,
    layer_norm,
    matmul,
    project,
    topk,
    wkv4,
    wkv6,
    wkv6_decay,
    wkv6_mix,
    wkv7,
    wkv7_gate,
    wkv7_inputs,
)
from py_rwkv.kernels.base import KERNELS, Kernel, render, shape_of

__all__ = [
    "KERNELS",
    "Kernel",
    "embed",
    "layer_mix",
    "layer_norm",
    "matmul",
    "project",
    "render",
    "shape_of",
    "topk",
    "wkv4",
    "wkv6",
    "wkv6_decay",
    "wkv6_mix",
    "wkv7",
    "wkv7_gate",
    "wkv7_inputs",
]
