"""The WKV-7 recurrence as a differentiable torch function; `wkv7.cpp`, compiled on first use.

python -m build_scripts.demo_model.wkv7      # compares values and gradients with plain torch
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.cpp_extension import load


@cache
def _extension() -> Any:
    wide = ["-mprefer-vector-width=512"] if platform.machine() in ("x86_64", "AMD64") else []
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", *wide]
    return load("wkv7_train", [str(Path(__file__).with_name("wkv7.cpp"))], extra_cflags=flags, extra_ldflags=["-fopenmp"])


class _Wkv7(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        plain = [x.float().contiguous() for x in inputs]
        y, kept = _extension().forward(*plain)
        ctx.save_for_backward(*plain, kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return tuple(_extension().backward(*ctx.saved_tensors, grads[0].float().contiguous()))


def wkv7(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """y of S = S diag(w) + (S a) bᵀ + v kᵀ, y = S r, from S = 0. All [B, T, H, 64], T a multiple of 16; the result is f32."""
    y: Tensor = _Wkv7.apply(r, w, k, v, a, b)
    return y


def wkv7_reference(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The same, one step after the other in plain torch."""
    rows, length, heads, size = r.shape
    state, out = torch.zeros(rows, heads, size, size), []
    for t in range(length):
        removed = torch.einsum("bhij,bhj->bhi", state, a[:, t])
        state = state * w[:, t, :, None] + removed[..., None] * b[:, t, :, None] + v[:, t, ..., None] * k[:, t, :, None]
        out.append(torch.einsum("bhij,bhj->bhi", state, r[:, t]))
    return torch.stack(out, 1)


def check() -> None:
    """Compare both on random input; prints the largest differences."""
    torch.manual_seed(0)
    shape = (2, 32, 2, 64)
    r, k, v = (torch.randn(shape) * 0.5 for _ in range(3))
    kk, rate = torch.nn.functional.normalize(torch.randn(shape), dim=-1), torch.rand(shape)
    inputs = [x.requires_grad_() for x in (r, torch.rand(shape) * 0.5 + 0.5, k, v, -kk, kk * rate)]
    upstream, results = torch.randn(shape), []
    for function in (wkv7, wkv7_reference):
        y = function(*inputs)
        results.append((y, *torch.autograd.grad((y * upstream).sum(), inputs)))
    for name, got, expected in zip(("y", "dr", "dw", "dk", "dv", "da", "db"), *results, strict=True):
        error = (got - expected).abs().max().item()
        print(f"{name:2}  max error {error:.1e}")
        assert error < 1e-3, name


if __name__ == "__main__":
    check()
