"""The kernels: importing this package registers all of them in `KERNELS`."""

from py_rwkv.kernels import embed, layer_mix, layer_norm, matmul, project, topk, wkv7, wkv7_gate, wkv7_inputs
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
    "wkv7",
    "wkv7_gate",
    "wkv7_inputs",
]
