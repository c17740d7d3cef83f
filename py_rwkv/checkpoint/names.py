"""Official tensor names out of what training scripts write: wrappers' prefixes are stripped."""

from __future__ import annotations

from collections.abc import Iterable

from py_rwkv.errors import RwkvError

PREFIXES = ("_orig_mod.", "module.", "_forward_module.", "model.")


def official(name: str) -> str:
    """`_orig_mod.model.blocks.0.ln1.weight` → `blocks.0.ln1.weight`."""
    while prefix := next((p for p in PREFIXES if name.startswith(p)), ""):
        name = name[len(prefix) :]
    return name


def normalise(names: Iterable[str]) -> dict[str, str]:
    """{official name: name in the file}. RwkvError `duplicate-tensor` if two names become one."""
    table: dict[str, str] = {}
    for name in names:
        short = official(name)
        if short in table:
            raise RwkvError("duplicate-tensor", name=short, first=table[short], second=name)
        table[short] = name
    return table
