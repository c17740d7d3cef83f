"""From a manifest to the Programs of a model: one for decoding, one for prefill, and what draws tokens on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Hook
from py_rwkv.kernels import KERNELS, sample
from py_rwkv.models import emit
from py_rwkv.models.builder import Builder, Limits
from py_rwkv.models.tuning import Tuning
from py_rwkv.program import MAX_ROWS, Buffer, Call, Program
from py_rwkv.tokenizer import BUILT_IN

VOCAB_LIMITS = {**BUILT_IN, "20b": 50277}  # rows of the head from here on stand for no token
MAX_OUTPUTS = 8  # logit rows a step can produce, unless somebody wants more


def build_programs(
    manifest: Manifest,
    decode: Tuning,
    prefill: Tuning,
    limits: Limits,
    slots: int,
    max_outputs: int | None = None,
    hooks: Sequence[Hook] = (),
    spare: int = 0,
) -> list[Program]:
    """The decode and prefill Programs of a model, for steps of at most `max_outputs` rows of logits (not given: one per slot, at least MAX_OUTPUTS).

    spare: state slots beside those of the sessions. RwkvError `model-too-big` when a buffer does not fit the adapter, `bad-setting` for max_outputs outside 2 … MAX_ROWS,
    `unknown-point` or `bad-hook` for a hook.
    """
    outputs = min(max(MAX_OUTPUTS, slots), MAX_ROWS) if max_outputs is None else max_outputs
    if not 2 <= outputs <= MAX_ROWS:
        raise RwkvError("bad-setting", name="max_outputs", expected=f"2 to {MAX_ROWS}", found=outputs)
    limit = VOCAB_LIMITS.get(manifest.tokenizer, manifest.config.vocab)
    if manifest.tokenizer_file:
        limit = manifest.tokenizer_file.tokens

    def build(name: str, tuning: Tuning) -> Program:
        builder = Builder(name, manifest.tensors, tuning=tuning, limits=limits, slots=slots + spare, max_outputs=outputs, hooks=hooks)
        return emit(builder, manifest.config, vocab_limit=limit)

    return [build("decode", decode), build("prefill", prefill)]


def sample_program(decode: Program, vocab: int, slots: int) -> Program:
    """What follows a decode on a device that draws tokens by itself (kernels/sample.py): one call."""
    candidates = decode.buffers["candidates"]
    constants = {"V": vocab, "K": (candidates.shape[1] - 4) // 2, "WG": 64}
    samplers, counts = Buffer("samplers", (slots, sample.WORDS), "u32", "output"), Buffer("counts", (slots, vocab, 2), "u32", "scratch")
    ring = Buffer("ring", (slots, sample.RING, 2), "u32", "output")
    grid = KERNELS["sample"].grid(constants)
    call = Call("sample", constants, (candidates, samplers, counts, ring), grid, "head.sample", 0)
    return Program("sample", [call], decode.max_rows, decode.max_outputs)


def device_buffers(programs: Sequence[Program]) -> list[Any]:
    """The buffers of some programs, each once."""
    return list({name: b for p in programs for name, b in p.buffers.items()}.values())
