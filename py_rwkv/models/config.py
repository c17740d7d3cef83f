"""What a checkpoint is: its version, its sizes, and the names and shapes its tensors must have (official names, spec of each version)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from py_rwkv.errors import RwkvError

Kind = Literal["vector", "matrix", "factor"]  # matrix: [outputs, inputs]; factor: a low-rank one, stored [inputs, outputs]
SIZES = {"layers": 1024, "embd": 1 << 16, "heads": 1 << 12, "head_size": 1 << 10, "ffn": 1 << 20, "vocab": 1 << 24}


@dataclass(frozen=True)
class Config:
    """The sizes that make one RWKV: `embd` = heads · head_size channels; low ranks w, a, v, g (v is 0 in a one-layer model without it)."""

    version: str
    layers: int
    embd: int
    heads: int
    head_size: int
    ffn: int
    vocab: int
    ranks: dict[str, int] = field(default_factory=dict, hash=False)
    group_norm_eps: float = 64e-5

    def __post_init__(self) -> None:
        if self.version != "7":
            raise RwkvError("unsupported-architecture", found=f"RWKV version {str(self.version)[:20]}", reason="only V7 runs so far.")
        for name, limit in SIZES.items():
            _check(name, getattr(self, name), 1, limit)
        if self.embd % 4:
            raise RwkvError("unsupported-architecture", found=f"a width of {self.embd}", reason="the width must be a multiple of 4.")
        if self.heads * self.head_size != self.embd:
            raise RwkvError("bad-config", reason=f"{self.heads} heads of {self.head_size} do not make {self.embd} channels")
        if not isinstance(self.ranks, dict) or set(self.ranks) != set("wavg"):
            raise RwkvError("bad-config", reason="ranks must name w, a, v and g")
        for name, rank in self.ranks.items():
            _check(f"rank {name}", rank, 0 if name == "v" and self.layers == 1 else 1, 1 << 16)
        eps = self.group_norm_eps
        if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
            raise RwkvError("bad-config", reason="group_norm_eps must be a number between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Config:
        """RwkvError `bad-config` or `unsupported-architecture` unless `data` is what `to_json` gives."""
        names = set(cls.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) != names:
            raise RwkvError("bad-config", reason=f"a config has exactly the keys {', '.join(sorted(names))}")
        return cls(**data)


class Expected(NamedTuple):
    """A tensor that a checkpoint of some config holds; `optional`: it may be missing because nothing reads it."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    optional: bool = False


def tensors(config: Config) -> Iterator[Expected]:
    """Every tensor of a checkpoint, in the order of its use."""
    C, F, H, N, V = config.embd, config.ffn, config.heads, config.head_size, config.vocab
    yield Expected("emb.weight", (V, C), "matrix")
    for i in range(config.layers):
        for norm in ("ln0", "ln1", "ln2") if i == 0 else ("ln1", "ln2"):
            yield Expected(f"blocks.{i}.{norm}.weight", (C,), "vector")
            yield Expected(f"blocks.{i}.{norm}.bias", (C,), "vector")
        att, ffn = f"blocks.{i}.att.", f"blocks.{i}.ffn."
        for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "w0", "a0"):
            yield Expected(att + name, (C,), "vector")
        yield Expected(att + "v0", (C,), "vector", i == 0)
        yield Expected(att + "r_k", (H, N), "vector")
        for name in ("receptance", "key", "value", "output"):
            yield Expected(f"{att}{name}.weight", (C, C), "matrix")
        for low, rank in config.ranks.items():
            yield Expected(f"{att}{low}1", (C, rank), "factor", i == 0 and low == "v")
            yield Expected(f"{att}{low}2", (rank, C), "factor", i == 0 and low == "v")
        yield Expected(att + "ln_x.weight", (C,), "vector")
        yield Expected(att + "ln_x.bias", (C,), "vector")
        yield Expected(ffn + "x_k", (C,), "vector")
        yield Expected(ffn + "key.weight", (F, C), "matrix")
        yield Expected(ffn + "value.weight", (C, F), "matrix")
    yield Expected("ln_out.weight", (C,), "vector")
    yield Expected("ln_out.bias", (C,), "vector")
    yield Expected("head.weight", (V, C), "matrix")


def detect(shapes: Mapping[str, tuple[int, ...]]) -> Config:
    """The config of a checkpoint with these tensors (official names), every shape checked against it.

    RwkvError: `unsupported-architecture` (with what was found), `missing-tensor`, `wrong-shape`.
    """
    found, reason = recognize(shapes)
    if reason:
        raise RwkvError("unsupported-architecture", found=found, reason=reason)

    def dims(name: str, *axes: str) -> tuple[int, ...]:
        if name not in shapes:
            raise RwkvError("missing-tensor", name=name, expected=" × ".join(axes))
        if len(shapes[name]) != len(axes):
            raise RwkvError("wrong-shape", name=name, expected=" × ".join(axes), found=_text(shapes[name]))
        return shapes[name]

    vocab, embd = dims("emb.weight", "vocabulary", "width")
    heads, head_size = dims("blocks.0.att.r_k", "heads", "head size")
    ffn = dims("blocks.0.ffn.key.weight", "FFN width", "width")[0]
    layers = 1 + max(int(m[1]) for m in map(re.compile(r"blocks\.(\d{1,6})\.").match, shapes) if m)
    ranks = {}
    for low in "wavg":
        name = f"blocks.{1 if low == 'v' and layers > 1 else 0}.att.{low}1"
        if low == "v" and layers == 1 and name not in shapes:
            ranks[low] = 0
            continue
        rows, columns = dims(name, "width", "rank")
        if rows != embd and columns == embd:
            raise RwkvError("unsupported-architecture", found="RWKV-7 in web-rwkv's .st layout (transposed low-rank factors)", reason=LATER)
        ranks[low] = columns
    config = Config("7", layers, embd, heads, head_size, ffn, vocab, ranks)

    known = set()
    for name, shape, _, optional in tensors(config):  # lazily: a file that claims a million layers fails at its first missing tensor
        known.add(name)
        if optional:
            continue
        if name not in shapes:
            raise RwkvError("missing-tensor", name=name, expected=_text(shape))
        if (_squeezed(shapes[name]) if len(shape) == 1 else shapes[name]) != shape:
            raise RwkvError("wrong-shape", name=name, expected=_text(shape), found=_text(shapes[name]))
    for name in shapes:
        if name.startswith("blocks.") and name not in known and not name.endswith(".att.time_state"):
            raise RwkvError("unsupported-architecture", found=f"RWKV-7 with the tensor {name}", reason="RWKV-7 (x070) has no such tensor.")
    return config


LATER = "it is recognized, but not supported yet."


def recognize(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """What these tensors are, and why that cannot be run (empty for RWKV-7)."""

    def has(*parts: str) -> bool:
        return any(part in name for name in shapes for part in parts)

    if not shapes:
        return "a file without tensors", "there is nothing to run."
    if has(".lora_A", ".lora_B", ".lora.0", ".lora.1"):
        return "a LoRA file", "it belongs to a base model and cannot run alone."
    if all(name.endswith("time_state") for name in shapes):
        return "a state-tuning file", "it belongs to a base model and cannot run alone."
    if has("blocks.0.att.r_k", ".att.x_r"):
        if has(".ffn.enn."):
            return "RWKV-8 rc00 (ffn.enn)", "this experimental version is not supported."
        if has(".qkv."):
            return "RWKV-7b (qkv attention)", "its state grows with the text; it is not supported."
        if has(".ffn.s_emb"):
            return "RWKV-7a (DeepEmbed, ffn.s_emb)", "it is not supported."
        return "RWKV-7 (x070)", ""
    if has(".att.time_maa_x") or (has(".att.time_mix_x") and has(".att.time_mix_w1")):
        return "RWKV-6 (x060)", LATER
    if has(".att.ln_x.weight"):
        decay = shapes.get("blocks.0.att.time_decay", ())
        minor = "5.0" if not has(".att.gate.weight") else "5.2" if len(decay) > 1 and decay[1] > 1 else "5.1"
        return f"RWKV-{minor}", LATER
    if has(".att.time_decay"):
        return "RWKV-4", LATER
    if has(".attn.r_k", ".attn.x_r", ".attention.time_", "rwkv.blocks.", ".attn.r_proj"):
        return "an RWKV in Hugging Face names", LATER
    if has("self_attn.", ".attention.wq", "attn.q_proj", "attn.c_attn", "blk.0.attn_q"):
        return "a transformer (llama-like attention layers)", "only RWKV models run here."
    if has(".A_log", ".mixer.in_proj"):
        return "a Mamba model", "only RWKV models run here."
    some = ", ".join(sorted(shapes)[:3])
    return f"an unknown model ({len(shapes)} tensors: {some[:200]}…)", "only RWKV models run here."


def _check(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise RwkvError("bad-config", reason=f"{name} must be a whole number from {low} to {high}, not {str(value)[:40]}")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[1, 1, C] and [C] are the same vector."""
    return (math.prod(shape),) if shape and all(n == 1 for n in shape[:-1]) else shape


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
