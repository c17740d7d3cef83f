"""What a model takes before any of it is there: bytes stored and bytes on the device, from its config and a strategy alone, or from its manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from py_rwkv.checkpoint.layout import layout
from py_rwkv.checkpoint.manifest import Manifest, Sampling, Stored, choose_tokenizer
from py_rwkv.devices.base import merged_buffers
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import Limits
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import Features, preset
from py_rwkv.program import Program
from py_rwkv.quant import ENCODINGS, parse_strategy
from py_rwkv.runtime.programs import build_programs, sample_program

HEADER = 128  # bytes that a shard's header spends on a tensor, about


@dataclass(frozen=True)
class Need:
    """Bytes: stored as shards, in device buffers, and the least `maxStorageBufferBindingSize` with which the model can be built."""

    disk: int
    gpu: int
    binding: int


def need(config: Config, strategy: str, *, slots: int = 4) -> Need:
    """A model of this config in this strategy with so many sessions. Repeated rows, which are stored once, are not foreseen: the truth may be less, never more.

    RwkvErrors `unknown-strategy`, and `model-too-big` if no device could have the buffers.
    """
    manifest = _manifest(config, parse_strategy(strategy).text)
    disk = sum(t.nbytes for t in manifest.tensors.values()) + HEADER * len(manifest.tensors)
    return replace(need_of(manifest, slots=slots), disk=disk)


def need_of(manifest: Manifest, *, slots: int = 4) -> Need:
    """Of a model whose manifest is there: exact. RwkvError `model-too-big` as above."""
    programs, limits = _programs(manifest, slots)
    buffers = merged_buffers([*programs, sample_program(programs[0], manifest.config.vocab, slots)])
    return Need(manifest.total_bytes, sum(b.nbytes for b in buffers.values()), limits.binding_bytes)


def _manifest(config: Config, strategy: str) -> Manifest:
    """A manifest whose tensors have shapes, but no bytes."""
    plan = parse_strategy(strategy)
    tensors: dict[str, Stored] = {}
    for t in layout(config):
        parts = {"": ("F32", (t.columns,))} if t.kind == "vector" else ENCODINGS[plan.encoding(t.name)].layout(t.rows, t.columns)
        tensors |= {t.name + suffix: Stored(dtype, shape, ()) for suffix, (dtype, shape) in parts.items()}
    return Manifest("planned", config, strategy, choose_tokenizer(config.vocab), "world", Sampling(), tensors, ())


def _programs(manifest: Manifest, slots: int) -> tuple[list[Program], Limits]:
    """Built with the least binding that is enough: what `model-too-big` asks for is granted until it asks no more."""
    limits, forms = Limits(), preset(Features())
    for _ in range(64):
        try:
            return build_programs(manifest, forms.decode, forms.prefill, limits, slots, spare=slots), limits
        except RwkvError as e:
            if e.code != "model-too-big" or int(str(e.details["need"])) >= 1 << 40:
                raise
            limits = replace(limits, binding_bytes=int(str(e.details["need"])))
    raise RwkvError("internal", reason="no binding is large enough for the planned model")
