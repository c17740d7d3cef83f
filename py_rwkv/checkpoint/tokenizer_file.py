"""Which tokenizer a model gets: what somebody names, a file that lies beside the checkpoint, or what the size of the vocabulary tells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from py_rwkv.checkpoint.manifest import Manifest, TokenizerFile, choose_tokenizer
from py_rwkv.checkpoint.source import ByteSource, FileSource
from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer import BUILT_IN, MAX_FILE, check_size, open_tokenizer


class Chosen(NamedTuple):
    """The fields of a manifest, and the file's content. The manifest's `tokenizer_name` is the file's name."""

    tokenizer: str
    tokenizer_file: TokenizerFile | None = None
    data: bytes | None = None

    def into(self, manifest: Manifest) -> Manifest:
        return replace(manifest, tokenizer=self.tokenizer, tokenizer_file=self.tokenizer_file)


def chosen(vocab: int, wanted: str | bytes | None) -> Chosen:
    """wanted: `world`, `bytes`, `none`, the content of a tokenizer's file, or None: whatever the vocabulary's size tells.

    RwkvError `unknown-tokenizer`, `bad-tokenizer`, `tokenizer-mismatch` with both sizes.
    """
    if wanted is None:
        return Chosen(choose_tokenizer(vocab))
    if isinstance(wanted, bytes):
        made = open_tokenizer(wanted)
        check_size(made.name, made.vocab_limit, vocab)
        return Chosen(made.name, TokenizerFile(sha256(wanted).hexdigest(), len(wanted), made.vocab_limit), wanted)
    if wanted == "none":
        return Chosen("unknown")
    if wanted not in BUILT_IN:
        raise RwkvError("unknown-tokenizer", name=wanted[:80], expected=f"{', '.join(BUILT_IN)}, none, or a file")
    check_size(wanted, BUILT_IN[wanted], vocab)
    return Chosen(wanted)


def wanted_tokenizer(text: str) -> str | bytes:
    """`--tokenizer NAME|FILE` → what `chosen` wants. RwkvErrors of reading; `bad-tokenizer` for a file too large."""
    return text if text in (*BUILT_IN, "none") else content(FileSource(text))


def content(source: ByteSource) -> bytes:
    """A tokenizer's file, whole. RwkvError `bad-tokenizer` if it is too large."""
    if source.size > MAX_FILE:
        raise RwkvError("bad-tokenizer", name=source.name, reason=f"it is {source.size} bytes long; {MAX_FILE} are allowed")
    return source.read(0, source.size)


def among(names: Iterable[str], vocab: int) -> str:
    """The tokenizer's file among those that came with a checkpoint, where its vocabulary needs one: `…tokenizer.json`, else `…vocab….txt`; "" if there is none."""
    if choose_tokenizer(vocab) in BUILT_IN:
        return ""
    listed = sorted(names)
    found = [name for name in listed if name.endswith("tokenizer.json")] + [
        name for name in listed if "vocab" in name and name.endswith(".txt")
    ]
    return found[0] if found else ""


def beside(path: str | os.PathLike[str], vocab: int) -> bytes | None:
    """The tokenizer's file that lies beside a checkpoint on this machine: in a Hugging Face folder, or `20B_tokenizer.json` anywhere."""
    text = os.fspath(path)
    folder = text if os.path.isdir(text) else os.path.dirname(text) or "."
    names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    if text != folder and "config.json" not in names:
        names &= {"20B_tokenizer.json"}
    name = among(names, vocab)
    return content(FileSource(os.path.join(folder, name))) if name else None
