"""RWKV-7 for training, with the parameters under their official names: `Rwkv7.state_dict()` is the checkpoint but for emb and head.

Those two know only the tokens that occur in the training text, and one more row for all others: the embedding of an unknown word, and the score that any of the
others gets in the softmax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from build_scripts.demo_model.wkv7 import wkv7


@dataclass(frozen=True)
class Shape:
    layers: int = 6
    embd: int = 256
    head_size: int = 64
    ffn: int = 1024
    rank_w: int = 32
    rank_a: int = 32
    rank_v: int = 32
    rank_g: int = 64
    vocab: int = 65536

    @property
    def heads(self) -> int:
        return self.embd // self.head_size


def vector(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.view(1, 1, -1))


def orthogonal(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.orthogonal_(torch.empty(rows, columns)) * 0.1)


def shifted(x: Tensor) -> Tensor:
    """The difference to the row before: prev - x, [B, T, C]."""
    return F.pad(x, (0, 0, 1, -1)) - x


class TimeMix(nn.Module):
    """Attention's place: arXiv 2503.14456 §4, initial values as in the official trainer."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        C, N, H = shape.embd, shape.head_size, shape.heads
        self.shape, self.layer = shape, layer
        depth, height = layer / (shape.layers - 1), 1 - layer / shape.layers  # 0 → 1 and 1 → 0 through the layers
        channel = torch.arange(C) / C
        for name, power in {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}.items():
            setattr(self, f"x_{name}", vector(1 - channel.pow(power * height)))
        n = torch.arange(C) / (C - 1)
        across = ((torch.arange(C) % N) - (N - 1) / 2) / ((N - 1) / 2)  # -1 → 1 within every head
        zigzag = across * across.abs()
        self.w1, self.w2 = nn.Parameter(torch.zeros(C, shape.rank_w)), orthogonal(shape.rank_w, C)
        self.w0 = vector(-6 + 6 * n.pow(1 + depth**0.3) + 0.5 + zigzag * 2.5)
        self.a1, self.a2 = nn.Parameter(torch.zeros(C, shape.rank_a)), orthogonal(shape.rank_a, C)
        self.a0 = vector(-0.19 + zigzag * 0.3 + (n - 0.5) * 0.4)
        self.v1, self.v2 = nn.Parameter(torch.zeros(C, shape.rank_v)), orthogonal(shape.rank_v, C)
        self.v0 = vector(0.73 - (n - 0.5) * 0.4)
        self.g1, self.g2 = nn.Parameter(torch.zeros(C, shape.rank_g)), orthogonal(shape.rank_g, C)
        self.k_k, self.k_a = vector(0.71 - (n - 0.5) * 0.1), vector(torch.ones(C) * 1.02)
        self.r_k = nn.Parameter(torch.full((H, N), -0.04))
        self.receptance, self.key, self.value, self.output = (nn.Linear(C, C, bias=False) for _ in range(4))
        for linear, scale in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            nn.init.uniform_(linear.weight, -scale / C**0.5, scale / C**0.5)
        nn.init.zeros_(self.output.weight)
        self.ln_x = nn.GroupNorm(H, C, eps=64e-5)
        self.ln_x.weight.data.fill_(((1 + layer) / shape.layers) ** 0.7)

    def forward(self, h: Tensor, v_first: Tensor | None) -> tuple[Tensor, Tensor]:
        """h [B, T, C] (normed) → what to add to the residual stream, and the values of layer 0."""
        B, T, C = h.shape
        d = shifted(h)
        r, k, v = self.receptance(h + d * self.x_r), self.key(h + d * self.x_k), self.value(h + d * self.x_v)
        w = -F.softplus(-(self.w0 + torch.tanh((h + d * self.x_w) @ self.w1) @ self.w2)) - 0.5
        if v_first is None:
            v_first = v
        else:
            v = v + (v_first - v) * torch.sigmoid(self.v0 + ((h + d * self.x_v) @ self.v1) @ self.v2)
        a = torch.sigmoid(self.a0 + ((h + d * self.x_a) @ self.a1) @ self.a2)
        g = torch.sigmoid((h + d * self.x_g) @ self.g1) @ self.g2

        def heads(x: Tensor) -> Tensor:
            return x.float().view(B, T, self.shape.heads, self.shape.head_size)

        kk = F.normalize(heads(k * self.k_k), dim=-1)
        k = k * (1 + (a - 1) * self.k_a)
        y = wkv7(heads(r), torch.exp(-torch.exp(heads(w))), heads(k), heads(v), -kk, kk * heads(a))
        y = self.ln_x(y.reshape(B * T, C)).view(B, T, C)
        y = y + ((heads(r) * heads(k) * self.r_k).sum(-1, keepdim=True) * heads(v)).view(B, T, C)
        out: Tensor = self.output(y * g.float())
        return out, v_first


class ChannelMix(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        C = shape.embd
        self.x_k = vector(1 - (torch.arange(C) / C).pow((1 - layer / shape.layers) ** 4))
        self.key, self.value = nn.Linear(C, shape.ffn, bias=False), nn.Linear(shape.ffn, C, bias=False)
        nn.init.uniform_(self.key.weight, -0.5 / C**0.5, 0.5 / C**0.5)
        nn.init.zeros_(self.value.weight)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.value(torch.relu(self.key(h + shifted(h) * self.x_k)).square())
        return out


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.ln0 = nn.LayerNorm(shape.embd) if layer == 0 else None
        self.ln1, self.ln2 = nn.LayerNorm(shape.embd), nn.LayerNorm(shape.embd)
        self.att, self.ffn = TimeMix(shape, layer), ChannelMix(shape, layer)

    def forward(self, x: Tensor, v_first: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.ln0(x) if self.ln0 else x
        mixed, v_first = self.att(self.ln1(x), v_first)
        x = x + mixed
        return x + self.ffn(self.ln2(x)), v_first


class Rwkv7(nn.Module):
    """The network over `known` tokens: row `known` of emb and head stands for all others."""

    def __init__(self, shape: Shape, known: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(known + 1, shape.embd)
        nn.init.uniform_(self.emb.weight, -1e-3, 1e-3)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.ln_out = nn.LayerNorm(shape.embd)
        self.head = nn.Linear(shape.embd, known + 1, bias=False)
        nn.init.orthogonal_(self.head.weight, gain=0.5)
        # The last row stands for that many tokens with the same score.
        self.register_buffer(
            "copies", torch.zeros(known + 1).index_fill(0, torch.tensor(known), math.log(shape.vocab - known)), persistent=False
        )
        self.copies: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T], numbered as in training → scores [B, T, known + 1]."""
        x, v_first = self.emb(tokens), None
        for block in self.blocks:
            x, v_first = block(x, v_first)
        return self.head(self.ln_out(x)).float() + self.copies
