"""Writes models as other programs do: web-rwkv's `.st`, Hugging Face safetensors, GGUF. Each takes official arrays and gives what its converter would."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from py_rwkv.checkpoint.safetensors import Piece, encode
from py_rwkv.models.config import Config, tensors

Arrays = dict[str, np.ndarray]
DTYPES = {"<f4": "F32", "<f2": "F16", "<u2": "BF16"}
RANKS = {"6": {"mix": 3, "decay": 6}, "7": {"w": 6, "a": 5, "v": 3, "g": 9}}


def config(version: str, layers: int = 2, embd: int = 20, heads: int = 5, ffn: int = 36, vocab: int = 40) -> Config:
    heads = 1 if version == "4" else heads
    return Config(version, layers, embd, heads, embd // heads, ffn, vocab, RANKS.get(version, {}))


def weights(c: Config, seed: int = 0, dtype: str = "<f4") -> Arrays:
    """Random tensors in official shapes, mixes and V6's decay as [1, 1, C]."""
    rng = np.random.default_rng(seed)
    made = {t.name: rng.standard_normal(t.shape).astype(dtype) for t in tensors(c)}
    wide = re.compile(r"\.(time_m\w+_[xwkvrg]|x_[rwkvag]|[wav]0)$")
    return {
        name: w[None, None] if wide.search(name) or c.version == "6" and name.endswith(".time_decay") else w for name, w in made.items()
    }


def safetensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    return encode([Piece(n, DTYPES[a.dtype.str], a.shape, np.ascontiguousarray(a).tobytes()) for n, a in arrays.items()], metadata)


TRANSPOSED = (
    "time_mix_w1",
    "time_mix_w2",
    "time_decay_w1",
    "time_decay_w2",
    "time_state",
    "lora.0",
    *(f".{c}{i}" for c in "wavg" for i in "12"),
)


def web_rwkv(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Renamed, factors transposed, V5.1's decay and bonus repeated for every channel of a head. In the given precision (web-rwkv halves it)."""
    out = {}
    size = next(iter(v.shape[-1] for n, v in arrays.items() if n == "emb.weight")) if "emb.weight" in arrays else 0
    for name, a in arrays.items():
        new = (
            name.replace("time_faaaa", "time_first")
            .replace("time_maa", "time_mix")
            .replace("lora_A", "lora.0")
            .replace("lora_B", "lora.1")
            .lower()
        )
        if a.ndim == 1 and name.endswith(("att.time_decay", "att.time_faaaa")) and "blocks.0.att.gate.weight" in arrays:
            a = np.repeat(a[:, None], size // len(a), axis=1)
        if any(part in new for part in TRANSPOSED) and a.ndim > 1:
            a = a.swapaxes(-1, -2)
        out[new] = np.ascontiguousarray(a)
    return out


LONG = {"k": "key", "v": "value", "r": "receptance", "g": "gate"}


def transformers(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The names of transformers' `rwkv` and of the community's `rwkv5` and `rwkv6`."""
    out = {}
    for name, a in arrays.items():
        new = (
            name.replace("emb.", "embeddings.")
            .replace("blocks.0.ln0", "blocks.0.pre_ln")
            .replace(".att.", ".attention.")
            .replace(".ffn.", ".feed_forward.")
        )
        new = re.sub(r"time_mix_(\w)$", lambda m: f"time_mix_{LONG[m[1]]}", new)
        out[new if new == "head.weight" else f"rwkv.{new}"] = a
    return out


def fla(arrays: Mapping[str, np.ndarray], *, fused: bool = False) -> Arrays:
    """flash-linear-attention's rwkv7. `fused`: the token shift's mixes in one tensor, as its first version had them."""
    names = {
        "emb.weight": "model.embeddings.weight",
        "ln_out.weight": "model.norm.weight",
        "ln_out.bias": "model.norm.bias",
        "head.weight": "lm_head.weight",
    }
    rooms = {"att": "attn", "ln0": "pre_norm", "ln1": "attn_norm", "ln2": "ffn_norm"}
    leaves = {"receptance": "r_proj", "key": "k_proj", "value": "v_proj", "ln_x": "g_norm", "output": "o_proj"}
    out: Arrays = {}
    for name, a in arrays.items():
        if re.fullmatch(r"blocks\.0\.att\.v[012]", name):
            continue
        if name in names:
            out[names[name]] = a
            continue
        _, layer, room, *rest = name.split(".")
        if fused and room == "att" and rest[0].startswith("x_"):
            continue
        prefix = f"model.layers.{layer}.{rooms.get(room, room)}."
        if room == "att" and re.fullmatch("[wvag][012]", rest[0]):
            kind = {"0": "2.bias", "1": "0.weight", "2": "2.weight"}[rest[0][1]]
            out[f"{prefix}{rest[0][0]}_lora.lora.{kind}"] = np.ascontiguousarray(a.T) if rest[0][1] != "0" else a.reshape(-1)
        else:
            squeeze = a.ndim == 3 and room == "ffn"
            out[prefix + ".".join([leaves.get(rest[0], rest[0]) if room == "att" else rest[0], *rest[1:]])] = (
                a.reshape(-1) if squeeze else a
            )
    if fused:
        for layer in {n.split(".")[1] for n in arrays if n.startswith("blocks.")}:
            mixes = [arrays[f"blocks.{layer}.att.x_{c}"].reshape(-1) for c in "rwkvag"]
            out[f"model.layers.{layer}.attn.x_x"] = np.stack(mixes)
    return out


GGUF_TOP = {"emb": "token_embd", "blocks.0.ln0": "token_embd_norm", "ln_out": "output_norm", "head": "output"}
GGUF_LEAF = {"time_maa_x": "lerp_x", "time_maa_w1": "w1", "time_maa_w2": "w2", "time_faaaa": "first", "time_decay": "decay"}
GGUF_LEAF |= {"time_decay_w1": "decay_w1", "time_decay_w2": "decay_w2"}


def gguf_tensors(arrays: Mapping[str, np.ndarray], version: str, rescale: int = 0, fused: bool = True) -> Arrays:
    """What convert_hf_to_gguf.py writes for rwkv6 and rwkv7."""
    out: Arrays = {}
    for name, a in arrays.items():
        base, _, part = name.rpartition(".")
        if base in GGUF_TOP:
            out[f"{GGUF_TOP[base]}.{part}"] = a
            continue
        _, block, room, leaf, *part_of = name.split(".")
        blk = f"blk.{block}."
        if room in ("ln1", "ln2"):
            out[f"{blk}{'attn_norm' if room == 'ln1' else 'attn_norm_2'}.{leaf}"] = a
            continue
        if leaf == "ln_x":
            out[f"{blk}time_mix_ln.{part_of[0]}"] = a
            continue
        mix = re.fullmatch(r"(?:time_maa_|x_)([rwkvag])", leaf)
        if room == "ffn":
            out[f"{blk}channel_mix_{f'lerp_{mix[1]}' if mix else leaf}.weight"] = _halved(
                a.reshape(-1) if mix else a, leaf == "value", block, rescale
            )
            continue
        if mix and fused:
            continue
        if version == "7" and block == "0" and leaf in ("v0", "v1", "v2"):
            continue
        if leaf in ("time_maa_w2", "time_maa_w1", "time_decay_w1", "time_decay_w2") or re.fullmatch("[wavg][12]", leaf):
            a = np.ascontiguousarray(a.swapaxes(-1, -2))
        new = f"lerp_{mix[1]}" if mix else GGUF_LEAF.get(leaf, leaf)
        flat = a.reshape(-1) if a.ndim == 3 and "w2" not in leaf or leaf == "r_k" else a
        out[f"{blk}time_mix_{new}.weight"] = _halved(flat, leaf == "output", block, rescale)
        if version == "7" and block == "0" and re.fullmatch("a[012]", leaf):
            out[f"{blk}time_mix_v{leaf[1]}.weight"] = flat
    order, prefix = ("wkvrg", "time_maa_") if version == "6" else ("rwkvag", "x_")
    for block in {n.split(".")[1] for n in arrays if n.startswith("blocks.")} if fused else ():
        mixes = [arrays[f"blocks.{block}.att.{prefix}{c}"].reshape(1, 1, -1) for c in order]
        out[f"blk.{block}.time_mix_lerp_fused.weight"] = np.stack(mixes)
    return out


def _halved(a: np.ndarray, wanted: bool, block: str, every: int) -> np.ndarray:
    return a / a.dtype.type(2 ** (int(block) // every)) if wanted and every else a


def text(s: str) -> bytes:
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(v: Any) -> bytes:
    if isinstance(v, str):
        return struct.pack("<I", 8) + text(v)
    if isinstance(v, list):
        return struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(text, v))
    return struct.pack("<If", 6, v) if isinstance(v, float) else struct.pack("<II", 4, v)


KINDS = {"<f4": 0, "<f2": 1, "<u2": 30}


def gguf(arrays: Mapping[str, np.ndarray | tuple[int, tuple[int, ...], bytes]], arch: str, **values: Any) -> bytes:
    """A GGUF file; a tensor is an array, or (ggml type, shape, bytes of its blocks)."""
    meta = {"general.architecture": arch, "tokenizer.ggml.tokens": ["a", "bc", "<|é|>"], "general.quantization_version": 2}
    meta |= {key.replace("__", "."): v for key, v in values.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(arrays), len(meta)) + b"".join(text(k) + value(v) for k, v in meta.items())
    infos, data = b"", b""
    for name, a in arrays.items():
        kind, shape, raw = a if isinstance(a, tuple) else (KINDS[a.dtype.str], a.shape, np.ascontiguousarray(a).tobytes())
        infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    head += infos
    return head + bytes(-len(head) % 32) + data
