"""What a checkpoint is: its version, its sizes, and the names and shapes its tensors must have (official names, spec of each version)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from py_rwkv.errors import RwkvError

Kind = Literal["vector", "matrix", "factor", "factors"]  # matrix: [outputs, inputs]; factor: a low-rank one, stored [inputs, outputs];
# factors: MIXES of them in one tensor, side by side ([inputs, MIXES · outputs]) or stacked ([MIXES, inputs, outputs])
SIZES = {"layers": 1024, "embd": 1 << 16, "heads": 1 << 12, "head_size": 1 << 16, "ffn": 1 << 20, "vocab": 1 << 24}
RANKS: dict[str, tuple[str, ...]] = {"4": (), "5.0": (), "5.1": (), "5.2": (), "6": ("mix", "decay"), "7": tuple("wavg")}
MIXES = 5  # V6's data-dependent interpolations: w, k, v, r, g


@dataclass(frozen=True)
class Config:
    """The sizes that make one RWKV: `embd` = heads · head_size channels (V4: one head). Low ranks: V7 w, a, v, g (v is 0 in a one-layer
    model without it), V6 mix and decay, none before."""

    version: str
    layers: int
    embd: int
    heads: int
    head_size: int
    ffn: int
    vocab: int
    ranks: dict[str, int] = field(default_factory=dict, hash=False)
    group_norm_eps: float = 64e-5  # V4 has no group norm

    def __post_init__(self) -> None:
        if not isinstance(self.version, str) or self.version not in RANKS:
            known = f"only the versions {', '.join(RANKS)} run here."
            raise RwkvError("unsupported-architecture", found=f"RWKV version {str(self.version)[:20]}", reason=known)
        for name, limit in SIZES.items():
            _check(name, getattr(self, name), 1, limit)
        if self.embd % 4:
            raise RwkvError("unsupported-architecture", found=f"a width of {self.embd}", reason="the width must be a multiple of 4.")
        if self.heads * self.head_size != self.embd:
            raise RwkvError("bad-config", reason=f"{self.heads} heads of {self.head_size} do not make {self.embd} channels")
        if self.version == "4" and self.heads != 1:
            raise RwkvError("bad-config", reason=f"RWKV-4 counts as one head, not {self.heads}")
        if self.version != "4" and (self.head_size % 4 or self.head_size > 1024):
            found = f"a head size of {self.head_size}"
            raise RwkvError("unsupported-architecture", found=found, reason="it must be a multiple of 4, at most 1024.")
        wanted = RANKS[self.version]
        if not isinstance(self.ranks, dict) or set(self.ranks) != set(wanted):
            raise RwkvError("bad-config", reason=f"ranks must name {', '.join(wanted) or 'nothing'}")
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
    C, F, V = config.embd, config.ffn, config.vocab
    time_mix, mixes = {"6": (_time_mix6, ("time_maa_k", "time_maa_r")), "7": (_time_mix7, ("x_k",))}.get(
        config.version, (_time_mix4 if config.version == "4" else _time_mix5, ("time_mix_k", "time_mix_r"))
    )
    yield Expected("emb.weight", (V, C), "matrix")
    for i in range(config.layers):
        for norm in ("ln0", "ln1", "ln2") if i == 0 else ("ln1", "ln2"):
            yield Expected(f"blocks.{i}.{norm}.weight", (C,), "vector")
            yield Expected(f"blocks.{i}.{norm}.bias", (C,), "vector")
        for t in time_mix(config):
            yield Expected(f"blocks.{i}.att.{t.name}", t.shape, t.kind, t.optional and i == 0)
        ffn = f"blocks.{i}.ffn."
        for name in mixes:
            yield Expected(ffn + name, (C,), "vector")
        yield Expected(ffn + "key.weight", (F, C), "matrix")
        if config.version != "7":
            yield Expected(ffn + "receptance.weight", (C, C), "matrix")
        yield Expected(ffn + "value.weight", (C, F), "matrix")
    yield Expected("ln_out.weight", (C,), "vector")
    yield Expected("ln_out.bias", (C,), "vector")
    yield Expected("head.weight", (V, C), "matrix")


def _time_mix4(config: Config) -> Iterator[Expected]:
    C = config.embd
    for name in ("time_mix_k", "time_mix_v", "time_mix_r", "time_decay", "time_first"):
        yield Expected(name, (C,), "vector")
    yield from _square(C, "receptance", "key", "value", "output")


def _time_mix5(config: Config) -> Iterator[Expected]:
    C, gate = config.embd, config.version != "5.0"
    for name in "kvrg" if gate else "kvr":
        yield Expected(f"time_mix_{name}", (C,), "vector")
    per_head = (config.heads, config.head_size) if config.version == "5.2" else (config.heads,)
    yield Expected("time_decay", per_head, "vector")
    yield Expected("time_faaaa" if gate else "time_first", per_head, "vector")
    yield from _square(C, "receptance", "key", "value", *["gate"] * gate, "output")
    yield from _ln_x(C)


def _time_mix6(config: Config) -> Iterator[Expected]:
    C, mix, decay = config.embd, config.ranks["mix"], config.ranks["decay"]
    for name in "xwkvrg":
        yield Expected(f"time_maa_{name}", (C,), "vector")
    yield Expected("time_maa_w1", (C, MIXES * mix), "factors")
    yield Expected("time_maa_w2", (MIXES, mix, C), "factors")
    yield Expected("time_decay", (C,), "vector")
    yield Expected("time_decay_w1", (C, decay), "factor")
    yield Expected("time_decay_w2", (decay, C), "factor")
    yield Expected("time_faaaa", (config.heads, config.head_size), "vector")
    yield from _square(C, "receptance", "key", "value", "gate", "output")
    yield from _ln_x(C)


def _time_mix7(config: Config) -> Iterator[Expected]:
    """`optional` here means: in layer 0, which makes the value that these tensors would mix in."""
    C = config.embd
    for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "w0", "a0"):
        yield Expected(name, (C,), "vector")
    yield Expected("v0", (C,), "vector", True)
    yield Expected("r_k", (config.heads, config.head_size), "vector")
    yield from _square(C, "receptance", "key", "value", "output")
    for low, rank in config.ranks.items():
        yield Expected(f"{low}1", (C, rank), "factor", low == "v")
        yield Expected(f"{low}2", (rank, C), "factor", low == "v")
    yield from _ln_x(C)


def _square(channels: int, *names: str) -> Iterator[Expected]:
    for name in names:
        yield Expected(f"{name}.weight", (channels, channels), "matrix")


def _ln_x(channels: int) -> Iterator[Expected]:
    yield Expected("ln_x.weight", (channels,), "vector")
    yield Expected("ln_x.bias", (channels,), "vector")


def detect(shapes: Mapping[str, tuple[int, ...]]) -> Config:
    """The config of a checkpoint with these tensors (official names), every shape checked against it.

    RwkvError: `unsupported-architecture` (with what was found), `missing-tensor`, `wrong-shape`.
    """
    version, found, reason = recognize(shapes)
    if reason:
        raise RwkvError("unsupported-architecture", found=found, reason=reason)

    def dims(name: str, *axes: str) -> tuple[int, ...]:
        if name not in shapes:
            raise RwkvError("missing-tensor", name=name, expected=" × ".join(axes))
        if len(shapes[name]) != len(axes):
            raise RwkvError("wrong-shape", name=name, expected=" × ".join(axes), found=_text(shapes[name]))
        return shapes[name]

    def rank(name: str) -> int:
        return dims(name, "width", "rank")[1]

    vocab, embd = dims("emb.weight", "vocabulary", "width")
    ffn = dims("blocks.0.ffn.key.weight", "FFN width", "width")[0]
    layers = 1 + max(int(m[1]) for m in map(re.compile(r"blocks\.(\d{1,6})\.").match, shapes) if m)
    heads, head_size = 1, embd
    ranks: dict[str, int] = {}
    if version in ("5.0", "5.1"):
        decay = "blocks.0.att.time_decay"
        heads = math.prod(shapes[decay]) if decay in shapes else dims(decay, "heads")[0]
        head_size = embd // max(1, heads)
    elif version != "4":
        per_head = {"5.2": "time_decay", "6": "time_faaaa", "7": "r_k"}[version]
        heads, head_size = dims(f"blocks.0.att.{per_head}", "heads", "head size")
    if version == "6":
        ranks = {"mix": rank("blocks.0.att.time_maa_w1") // MIXES, "decay": rank("blocks.0.att.time_decay_w1")}
    if version == "7":
        for low in RANKS["7"]:
            name = f"blocks.{1 if low == 'v' and layers > 1 else 0}.att.{low}1"
            ranks[low] = 0 if low == "v" and layers == 1 and name not in shapes else rank(name)
    config = Config(version, layers, embd, heads, head_size, ffn, vocab, ranks)

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
            kind = found.split(" ")[0]
            raise RwkvError("unsupported-architecture", found=f"{kind} with the tensor {name}", reason=f"{found} has no such tensor.")
    return config


ATTENTION = ("self_attn.", "attention.wq", "attn.q_proj", "att.q_proj", "attn.c_attn", "blk.0.attn_q")


def recognize(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str, str]:
    """(version, what these tensors are, why that cannot be run); one of the first and the last is empty."""

    def has(*parts: str) -> bool:
        return any(part in name for name in shapes for part in parts)

    def refused(found: str, reason: str) -> tuple[str, str, str]:
        return "", found, reason

    if not shapes:
        return refused("a file without tensors", "there is nothing to run.")
    if has(".lora_A", ".lora_B", ".lora.0", ".lora.1"):
        return refused("a LoRA file", "it belongs to a base model and cannot run alone.")
    if all(name.endswith("time_state") for name in shapes):
        return refused("a state-tuning file", "it belongs to a base model and cannot run alone.")
    if has(".rosa"):
        return refused("RWKV-8 (ROSA)", "this experimental version is not supported.")
    if has(".r_k", ".x_r", ".x_x", ".time_maa_", ".time_mix", ".time_decay") and (
        foreign := [n for n in shapes if any(a in n for a in ATTENTION)]
    ):
        found = f"a hybrid of RWKV and attention layers ({foreign[0][:80]})"
        return refused(found, "only pure RWKV models run here, whose state does not grow.")
    if has("blocks.0.att.r_k", ".att.x_r"):
        if has(".ffn.enn."):
            return refused("RWKV-8 rc00 (ffn.enn)", "this experimental version is not supported.")
        if has(".qkv."):
            return refused("RWKV-7b (qkv attention)", "its state grows with the text; it is not supported.")
        if has(".ffn.s_emb"):
            return refused("RWKV-7a (DeepEmbed, ffn.s_emb)", "it is not supported.")
        return "7", "RWKV-7 (x070)", ""
    if has(".att.time_maa_x"):
        return "6", "RWKV-6 (x060)", ""
    if has(".att.ln_x.weight"):
        decay = shapes.get("blocks.0.att.time_decay", ())
        version = "5.0" if not has(".att.gate.weight") else "5.2" if len(decay) > 1 and decay[1] > 1 else "5.1"
        return version, f"RWKV-{version}", ""
    if has(".att.time_decay"):
        return "4", "RWKV-4", ""
    if has(".attn.r_k", ".attn.x_r", ".attention.time_", "rwkv.blocks.", ".attn.r_proj"):
        reason = "it has no embedding: if it is one of several files, open their index.json or their folder."
        return refused("a part of an RWKV in Hugging Face names", reason)
    if has(*ATTENTION):
        return refused("a transformer (llama-like attention layers)", "only RWKV models run here.")
    if has(".A_log", ".mixer.in_proj"):
        return refused("a Mamba model", "only RWKV models run here.")
    some = ", ".join(sorted(shapes)[:3])
    return refused(f"an unknown model ({len(shapes)} tensors: {some[:200]}…)", "only RWKV models run here.")


def _check(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise RwkvError("bad-config", reason=f"{name} must be a whole number from {low} to {high}, not {str(value)[:40]}")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[1, 1, C], [C, 1] and [C] are the same vector."""
    return (math.prod(shape),) if shape and sum(n != 1 for n in shape) <= 1 else shape


def _text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a scalar"
