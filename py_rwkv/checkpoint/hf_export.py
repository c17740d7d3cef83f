"""Models out for Hugging Face's transformers: a folder that `RwkvForCausalLM` loads (RWKV-4), and the files of the World tokenizer."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from py_rwkv.checkpoint.export import Model, new_file, write_safetensors
from py_rwkv.checkpoint.official import file_shape
from py_rwkv.errors import RwkvError

VOCABULARY = "rwkv_vocab_v20230424.txt"
CODE = "hf_rwkv_tokenizer.py"
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
WORDS = {"k": "key", "v": "value", "r": "receptance"}


def hugging_face_name(name: str) -> str:
    """`blocks.3.att.time_mix_k` → `rwkv.blocks.3.attention.time_mix_key`."""
    if name == "head.weight":
        return name
    name = re.sub(r"^emb\.", "embeddings.", name)
    name = re.sub(r"^(blocks\.\d+\.)ln0\.", r"\1pre_ln.", name)
    name = re.sub(r"^(blocks\.\d+\.)(att|ffn)\.", lambda m: m[1] + {"att": "attention.", "ffn": "feed_forward."}[m[2]], name)
    return "rwkv." + re.sub(r"\.time_mix_([kvr])$", lambda m: f".time_mix_{WORDS[m[1]]}", name)


def export_hugging_face(model: Model, folder: str | os.PathLike[str], tokenizer: Mapping[str, bytes] | None = None) -> int:
    """Write `config.json`, `model.safetensors` and the tokenizer's files {name: content} (`world_tokenizer_files()` or somebody's) into `folder`;
    returns the size of the weights in bytes.

    RwkvError: `cannot-export` for anything but RWKV-4, which is the only version transformers has; `cannot-write`; whatever reading raises.
    """
    config = model.config
    if config.version != "4":
        raise RwkvError("cannot-export", format="a transformers folder", reason=f"transformers has no RWKV-{config.version}, only RWKV-4")
    dtype = next(t.dtype for t in model.tensors if t.name == "head.weight")
    settings = {
        "architectures": ["RwkvForCausalLM"],
        "model_type": "rwkv",
        "vocab_size": config.vocab,
        "hidden_size": config.embd,
        "attention_hidden_size": config.embd,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "context_length": 4096,
        "layer_norm_epsilon": 1e-5,
        "rescale_every": 6 if dtype == "F16" else 0,  # against overflow: transformers halves the residual stream and its weights
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": False,
        "use_cache": True,
        "torch_dtype": DTYPES[dtype],
    }
    path = make_folder(folder)
    tensors = [
        t._replace(name=hugging_face_name(t.name), shape=file_shape(t.name, t.shape, "4"))
        for t in model.tensors
        if not t.name.endswith(".time_state")
    ]
    size = write_safetensors(path / "model.safetensors", tensors, {"format": "pt", **model.metadata})
    write_files(path, {"config.json": _json(settings), **(tokenizer or {})})
    return size


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """RwkvError `cannot-write`."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise RwkvError("cannot-write", name=str(path), reason=e.strerror or str(e)) from e
    return path


def write_files(folder: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        with new_file(Path(folder) / name) as file:
            file.write(content)


def world_tokenizer_files() -> dict[str, bytes]:
    """The World tokenizer as `AutoTokenizer.from_pretrained(folder, trust_remote_code=True)` loads it: {file name: content}."""
    from py_rwkv.tokenizer.world import WorldTokenizer

    code = Path(__file__).with_name(CODE)
    try:
        source = code.read_bytes()
    except OSError:
        raise RwkvError("resource-missing", path=str(code)) from None
    end = "<|rwkv_tokenizer_end_of_text|>"
    special = {f"{name}_token": end for name in ("bos", "eos", "unk", "pad")}
    settings = {
        "auto_map": {"AutoTokenizer": [f"{CODE.removesuffix('.py')}.RwkvWorldTokenizer", None]},
        "tokenizer_class": "RwkvWorldTokenizer",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **special,
    }
    tokens = WorldTokenizer.load()
    text = vocabulary_text([tokens.token_bytes(i) for i in range(tokens.vocab_limit)])
    return {VOCABULARY: text, CODE: source, "tokenizer_config.json": _json(settings), "special_tokens_map.json": _json(special)}


def vocabulary_text(tokens: list[bytes]) -> bytes:
    """Tokens by id → the published form, `ID LITERAL LENGTH` a line; ids without a token have none."""

    def literal(token: bytes) -> str:
        try:
            return repr(token.decode("utf-8"))
        except UnicodeDecodeError:
            return repr(token)

    return "".join(f"{i} {literal(token)} {len(token)}\n" for i, token in enumerate(tokens) if token).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
