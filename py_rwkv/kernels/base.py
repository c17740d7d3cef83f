"""What a kernel is: one WGSL text (a file, or inline for one that a hook brings), one numpy reference, one declaration of bindings and constants.

The declaration gives every array's type and shape in terms of the constants (`"f32[rows, C]"`; `rows`, `outputs` and `slots` come from the step), so that one
parametrised test can draw inputs for any kernel and hold the two implementations against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from struct import pack
from typing import Any

from py_rwkv.resources import shader_dir

Value = int | float | str
Constants = Mapping[str, Any]
Reference = Callable[..., None]


@dataclass(frozen=True)
class Dim:
    """One grid dimension: ceil(count · per / tile) workgroups, count being 1, or the step's rows, runs, outputs, or of its outputs only a `lone` one or only
    `several`: none of the others then, and a call without workgroups is none."""

    per: int = 1
    tile: int = 1
    count: str = "1"

    def workgroups(self, step: Any) -> int:
        return -(-(1 if self.count == "1" else getattr(step, self.count)) * self.per // self.tile)


PER_ROW, PER_RUN, PER_OUTPUT = (Dim(count=c) for c in ("rows", "runs", "outputs"))
Grid = Callable[[Constants], tuple[Dim, ...]]


@dataclass
class Kernel:
    """One fused operation.

    reads, writes: array name → type and shape; they are bindings 1, 2, … in that order (binding 0 is the step). `writes` may also be read.
    constants: names of the WGSL `const`s and `Call` fields a call must set; grid: workgroups as a function of them. cases: constant sets for the pair test.
    """

    name: str
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    constants: tuple[str, ...]
    grid: Grid
    cases: tuple[Mapping[str, Value], ...] = ()
    prepare: Callable[..., None] | None = None  # test inputs that must be consistent with each other
    unordered: tuple[str, ...] = ()  # written in no particular order
    writes_step: bool = False  # binding 0 is writable storage: the kernel prepares the next replay
    wgsl: str = ""  # the shader of a kernel from outside this package; ours are files of the same name
    run: Reference = field(default=lambda **_: None)

    def reference(self, function: Reference) -> Reference:
        """Decorator: `function(step, c, memo, **arrays)` computes the kernel with numpy, in place on the arrays it writes.

        c: the constants as attributes; memo(key, make): a cache that lives as long as the weights (decoded matrices).
        """
        self.run = function
        return function


KERNELS: dict[str, Kernel] = {}


def kernel(name: str, **declaration: Any) -> Kernel:
    """Declare a kernel and register it under its name; one with inline `wgsl` may be declared again, ValueError for a name of ours."""
    if name in KERNELS and not KERNELS[name].wgsl:
        raise ValueError(f"there is a kernel {name} already")
    KERNELS[name] = Kernel(name, **declaration)
    return KERNELS[name]


@cache
def _source(path: str) -> str:
    return (shader_dir() / path).read_text("utf-8")


def render(name: str, constants: Mapping[str, Value]) -> str:
    """The WGSL of a kernel with its `const NAME: T = default;` lines set and its `//!include` lines replaced.

    An include may name a constant: `//!include lib/weight_{encoding}.wgsl`. Only what shapes the code is a `const`; the other constants are the fields of
    `struct Call` (see `call_block`), so that calls of all sizes share a pipeline.
    """
    text = _assembled(name, constants)
    fields = dict(_fields(text))
    for key in KERNELS[name].constants:
        value = constants[key]
        if isinstance(value, str) or key in fields:
            continue
        literal = f"{value}u" if isinstance(value, int) else repr(float(value))
        text, found = re.subn(rf"^const {key}: (\w+) = [^;]*;", rf"const {key}: \g<1> = {literal};", text, flags=re.M)
        if found != 1:
            raise KeyError(f"{name}.wgsl has {found} declarations of const {key}")
    return text


def call_block(name: str, constants: Mapping[str, Value]) -> bytes:
    """The uniform block of one call: the fields of the shader's `struct Call` (u32 or f32), padded to 16 bytes; empty if it has none."""
    text = _assembled(name, constants)
    fields = _fields(text)
    block = pack("<" + "".join("f" if kind == "f32" else "I" for _, kind in fields), *(constants[key] for key, _ in fields))
    return block + bytes(-len(block) % 16)


def _assembled(name: str, constants: Mapping[str, Value]) -> str:
    """The shader's text with its includes."""
    choices = tuple(sorted((k, v) for k, v in constants.items() if isinstance(v, str)))
    return _included(KERNELS[name].wgsl or _source(f"{name}.wgsl"), choices)


@cache
def _included(text: str, choices: tuple[tuple[str, str], ...]) -> str:
    while "//!include " in text:
        text = re.sub(r"^//!include (.*)$", lambda m: _source(m[1].format_map(dict(choices))), text, flags=re.M)
    enabled = dict.fromkeys(re.findall(r"^enable \w+;\n", text, flags=re.M))  # WGSL wants them first
    return "".join(enabled) + re.sub(r"^enable \w+;\n", "", text, flags=re.M)


@cache
def _fields(text: str) -> tuple[tuple[str, str], ...]:
    """Names and types in `struct Call`."""
    found = re.search(r"^struct Call \{(.*?)^\}", text, flags=re.M | re.S)
    return tuple(re.findall(r"^ +(\w+): (u32|f32),", found[1], flags=re.M)) if found else ()


def shape_of(declared: str, sizes: Mapping[str, int]) -> tuple[str, tuple[int, ...]]:
    """`"f32[rows,4+2*K]"` → `("f32", (rows, 4 + 2K))`. Sums of products of names and numbers; no eval."""
    kind, _, dims = declared.rstrip("]").partition("[")

    def term(text: str) -> int:
        product = 1
        for factor in text.split("*"):
            product *= int(factor) if factor.strip().isdigit() else sizes[factor.strip()]
        return product

    return kind, tuple(sum(term(t) for t in dim.split("+")) for dim in dims.split(","))
