"""Configs, version detection, and the Programs of all versions."""

from __future__ import annotations

from py_rwkv.models import rwkv4, rwkv5, rwkv6, rwkv7
from py_rwkv.models.builder import Builder
from py_rwkv.models.config import Config
from py_rwkv.program import Program

PROGRAMS = {
    "4": rwkv4.program,
    "5.0": rwkv5.program,
    "5.1": rwkv5.program,
    "5.2": rwkv5.program,
    "6": rwkv6.program,
    "7": rwkv7.program,
}


def emit(p: Builder, config: Config, *, vocab_limit: int) -> Program:
    """The Program of a model of any version, built in `p`; ids ≥ vocab_limit are never candidates. RwkvError `unknown-point` for a hook on none of its points."""
    program = PROGRAMS[config.version](p, config, vocab_limit=vocab_limit)
    p.check_hooks()
    return program
