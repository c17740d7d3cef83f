"""Makes `tokenizer/world.bin`: the World vocabulary of the PyPI package `rwkv`, packed. Runs when the package is built, and for a checkout that was not."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
from pathlib import Path

from py_rwkv.resources import PACKAGE
from py_rwkv.site import vendor

PUBLISHED = "rwkv/rwkv_vocab_v20230424.txt"
PACKED = PACKAGE / "tokenizer" / "world.bin"


def ensure(progress: vendor.Progress = vendor.quiet, *, refresh: bool = False) -> Path:
    """`world.bin`, made when it is missing; refresh: also when the packing code or the pinned package changed since."""
    if PACKED.is_file() and not refresh:
        return PACKED
    packer = PACKAGE / "tokenizer" / "vocabulary.py"
    key = json.dumps([vendor.pins()["pip"]["rwkv"], hashlib.sha256(packer.read_bytes()).hexdigest()])

    def fill(folder: Path) -> None:
        # By path, because the build environment need not be able to import the package.
        module = runpy.run_path(str(packer))
        text = vendor.from_wheel("rwkv", [PUBLISHED], progress=progress) / Path(PUBLISHED).name
        (folder / PACKED.name).write_bytes(module["pack"](text.read_bytes()))

    made = (vendor.once("world-vocabulary", key, fill) / PACKED.name).read_bytes()
    if not PACKED.is_file() or PACKED.read_bytes() != made:
        new = PACKED.with_suffix(f".{os.getpid()}")
        new.write_bytes(made)
        new.replace(PACKED)
    return PACKED
