"""An RWKV-7 model as the GGUF that llama.cpp and wllama run: names and layouts of its convert_hf_to_gguf.py, matrices as Q8_0, everything else as F32.

    python build_scripts/write_gguf.py demo demo.gguf
    python build_scripts/write_gguf.py MODEL OUT.gguf          MODEL: a checkpoint or a model directory, World vocabulary

For comparisons (bench_wllama.py); py_rwkv/checkpoint/gguf.py is the inverse.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from py_rwkv.checkpoint.export import open_export  # noqa: E402
from py_rwkv.models.config import Config  # noqa: E402
from py_rwkv.native import find_model  # noqa: E402
from py_rwkv.tokenizer.world import WorldTokenizer  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
TOP = {"emb": "token_embd", "blocks.0.ln0": "token_embd_norm", "ln_out": "output_norm", "head": "output"}
NORMS = {"ln1": "attn_norm", "ln2": "attn_norm_2", "att.ln_x": "time_mix_ln"}
MATRIX = re.compile(r"emb\.weight|head\.weight|blocks\.\d+\.(att|ffn)\.(key|value|receptance|output)\.weight")
MIXES = "rwkvag"  # the order in which llama.cpp fuses them
F32, Q8_0 = 0, 8
U32, I32, FLOAT, STRING, ARRAY = 4, 5, 6, 8, 9


def write(model: str, path: Path) -> None:
    made = open_export(find_model(model))
    if made.config.version != "7":
        raise SystemExit(f"{model} is RWKV-{made.config.version}; only RWKV-7 is written")
    dtypes = {"F32": "<f4", "F16": "<f2"}
    official = {t.name: np.frombuffer(b"".join(t.blocks()), dtypes[t.dtype]).astype("<f4").reshape(t.shape) for t in made.tensors}
    tensors = [(name, a, Q8_0 if quantized else F32) for name, a, quantized in renamed(official, made.config)]
    values = metadata(made.name, made.config)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(text(k) + value(v) for k, v in values.items())
    infos, blocks, at = b"", [], 0
    for name, a, kind in tensors:
        data = q8_0(a) if kind == Q8_0 else np.ascontiguousarray(a, "<f4").tobytes()
        infos += text(name) + struct.pack(f"<I{a.ndim}QIQ", a.ndim, *a.shape[::-1], kind, at)
        blocks.append(data + bytes(-len(data) % 32))
        at += len(blocks[-1])
    start = head + infos
    path.write_bytes(start + bytes(-len(start) % 32) + b"".join(blocks))


def renamed(official: dict[str, Array], config: Config) -> Iterator[tuple[str, Array, bool]]:
    """(llama.cpp's name, the tensor in its layout, whether it is quantized)."""
    for name, a in official.items():
        base, _, part = name.rpartition(".")
        if base in TOP:
            yield f"{TOP[base]}.{part}", a, bool(MATRIX.fullmatch(name))
            continue
        _, block, rest = name.split(".", 2)
        layer, (room, _, leaf) = f"blk.{block}.", rest.partition(".")
        if (norm := rest.rpartition(".")[0]) in NORMS:
            yield f"{layer}{NORMS[norm]}.{part}", a, False
        elif MATRIX.fullmatch(name):
            yield f"{layer}{'time' if room == 'att' else 'channel'}_mix_{leaf}", a, True
        elif room == "ffn":
            yield f"{layer}channel_mix_lerp_{leaf[2:]}.weight", a.reshape(-1), False
        elif not leaf.startswith("x_") and not (block == "0" and leaf in ("v0", "v1", "v2")):
            new = a.T if re.fullmatch("[wavg][12]", leaf) else a.reshape(-1)
            yield f"{layer}time_mix_{leaf}.weight", new, False
            if block == "0" and leaf in ("a0", "a1", "a2"):  # the first layer has no v0 to v2, but llama.cpp wants to see some
                yield f"{layer}time_mix_v{leaf[1]}.weight", new, False
    for block in range(config.layers):
        mixes = [official[f"blocks.{block}.att.x_{c}"].reshape(1, 1, -1) for c in MIXES]
        yield f"blk.{block}.time_mix_lerp_fused.weight", np.stack(mixes), False


def q8_0(a: Array) -> bytes:
    """Blocks of 32: an f16 scale max|x| / 127, then the rounded quotients (ggml's quantize_row_q8_0_ref)."""
    x = a.reshape(-1, 32)
    d = np.abs(x).max(1) / np.float32(127)
    inverse = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    blocks = np.empty(len(x), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    blocks["d"], blocks["q"] = d, np.rint(x * inverse[:, None])
    return blocks.tobytes()


def metadata(name: str, c: Config) -> dict[str, Any]:
    tokenizer = WorldTokenizer.load()
    words = [tokenizer.token_bytes(i) for i in range(c.vocab)]
    texts = [
        "<s>",
        *(repr(w)[2:-1] if w else f"[PAD{i}]" for i, w in enumerate(words[1:], 1)),
    ]  # llama.cpp's unescape_rwkv_token reads Python's escapes
    kinds = [3, *(1 if w else 5 for w in words[1:])]  # control, normal, unused
    return {
        "general.architecture": "rwkv7",
        "general.name": name,
        "general.file_type": 7,  # mostly Q8_0
        "rwkv7.context_length": 1048576,
        "rwkv7.embedding_length": c.embd,
        "rwkv7.block_count": c.layers,
        "rwkv7.attention.layer_norm_epsilon": 1e-5,
        "rwkv7.attention.head_count": 0,
        "rwkv7.wkv.head_size": c.head_size,
        "rwkv7.attention.decay_lora_rank": c.ranks["w"],
        "rwkv7.attention.iclr_lora_rank": c.ranks["a"],
        "rwkv7.attention.value_residual_mix_lora_rank": c.ranks["v"],
        "rwkv7.attention.gate_lora_rank": c.ranks["g"],
        "rwkv7.feed_forward_length": c.ffn,
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.eot_token_id": 261,  # a blank line
        "tokenizer.chat_template": "rwkv-world",
        "general.quantization_version": 2,
    }


def text(s: str) -> bytes:
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(v: Any) -> bytes:
    if isinstance(v, list):
        strings = isinstance(v[0], str)
        return struct.pack("<IIQ", ARRAY, STRING if strings else I32, len(v)) + b"".join(
            text(x) if strings else struct.pack("<i", x) for x in v
        )
    if isinstance(v, str):
        return struct.pack("<I", STRING) + text(v)
    return struct.pack("<If", FLOAT, v) if isinstance(v, float) else struct.pack("<II", U32, v)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    write(sys.argv[1], Path(sys.argv[2]))
