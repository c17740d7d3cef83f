"""Hooks: a person's own kernels or Python functions at named values of a model (docs/hooks.md). Data and helpers; the Builder inserts them, `runtime.replay` calls back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from py_rwkv.kernels.base import Dim, kernel

if TYPE_CHECKING:
    from numpy import ndarray

    from py_rwkv.models.builder import Builder
    from py_rwkv.program import Point, Step

THREADS = 64  # of an `elementwise` workgroup


class Frame(Protocol):
    """What a callback may know of the step besides its value."""

    point: Point
    step: Step
    program: str  # "decode" | "prefill"

    @property
    def slots(self) -> tuple[int, ...]:
        """The state slot, and so the session, of every row of the value."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The token of every row of the value."""

    async def read(self, name: str) -> ndarray:
        """Another value, f32 [tokens, columns]. RwkvError `bad-hook` when it is not in memory now."""

    def write(self, name: str, value: ndarray) -> None:
        """Replace another value that is in memory; what has been computed from it already stays. RwkvError `bad-hook-value` for a wrong shape."""


InsertFunction = Callable[["Builder", "Point"], None]
CallbackFunction = Callable[["ndarray", Frame], "ndarray | Awaitable[ndarray | None] | None"]


@dataclass(frozen=True)
class Insert:
    """At every point that `pattern` (fnmatch) names, `run(builder, point)` appends kernel calls; once for each Program of the model.

    needs: patterns of other points that `run` looks up with `builder.at(name)`; for them too the unfused path is taken.
    """

    pattern: str
    run: InsertFunction
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Callback:
    """At every point that `pattern` (fnmatch) names, `run(value, frame)` gets f32 [tokens, columns] and may return (or await) another array of that shape.

    needs: as in Insert, for `frame.read` and `frame.write`. fused: only points which the Program has anyway; its calls stay those of an ordinary run.
    """

    pattern: str
    run: CallbackFunction
    needs: tuple[str, ...] = ()
    fused: bool = False


Hook = Insert | Callback


def matches(hook: Hook, name: str) -> bool:
    """Whether the hook runs at the point."""
    return fnmatchcase(name, hook.pattern)


def wants(hook: Hook, name: str) -> bool:
    """Whether the value must be in memory for the hook, also where a fused kernel would keep it to itself."""
    patterns = hook.needs if isinstance(hook, Callback) and hook.fused else (hook.pattern, *hook.needs)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def view(array: ndarray, c: Any, prefix: str = "") -> ndarray:
    """In a numpy reference: a point's value [tokens, columns] inside the array bound for it, `f32[PLANES*tokens,STRIDE]`. c: the kernel's constants."""
    columns, first, plane, planes = (getattr(c, prefix + name) for name in ("COLUMNS", "FIRST", "PLANE", "PLANES"))
    rows = len(array) // planes
    out: ndarray = array[plane * rows : (plane + 1) * rows, first : first + columns]
    return out


def elementwise(name: str, wgsl: str, numpy: Callable[..., Any], reads: tuple[str, ...] = ()) -> InsertFunction:
    """A function for `Insert` that replaces every element x by an expression: `elementwise("double", "2.0 * x", lambda x: 2 * x)`.

    wgsl: of `x`, and of one value for each of `reads`, points of the same layer with as many columns, by their last name: `"x * decay"`, reads=("att.decay",).
    numpy: the same of arrays [tokens, columns], in that order. Put reads that only the unfused path has into `Insert(…, needs=…)`.
    """
    values = tuple(r.rpartition(".")[2] for r in reads)

    def insert(p: Builder, point: Point) -> None:
        others = [p.at(point.layer + r) for r in reads]
        inside = tuple(o.buffer.name == point.buffer.name for o in others)  # a kernel binds a buffer once
        label = f"{name}.{''.join(str(int(i)) for i in inside)}" if reads else name
        _declare(label, wgsl, numpy, values, inside)
        constants = point.constants()
        for value, other in zip(values, others, strict=True):
            constants |= other.constants(f"{value.upper()}_")
        planes = max([point.planes, *(o.planes for o, i in zip(others, inside, strict=True) if i)])  # of the buffer that they share
        constants |= {f"{prefix}PLANES": planes for prefix in ("", *(f"{v.upper()}_" for v, i in zip(values, inside, strict=True) if i))}
        p.call(label, constants, [*(o.buffer for o, i in zip(others, inside, strict=True) if not i), point.buffer])

    return insert


SHADER = f"""
{{constants}}
//!include lib/step.wgsl
{{inputs}}
@group(0) @binding({{last}}) var<storage, read_write> out: array<f32>;

@compute @workgroup_size({THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{{{
    let c = id.x;
    let t = id.y;
    if (c >= COLUMNS) {{{{ return; }}}}
    let tokens = select(batch.rows, batch.outputs, PER_OUTPUT == 1u);
    let i = {{at}};
    let x = out[i];
    {{lets}}
    out[i] = {{expression}};
}}}}
"""
PLACE = ("COLUMNS", "STRIDE", "FIRST", "PLANE")  # the constants of a point that a shader needs


def _declare(label: str, wgsl: str, numpy: Callable[..., Any], values: tuple[str, ...], inside: tuple[bool, ...]) -> None:
    """The kernel of an elementwise hook: values that lie `inside` the target's own buffer are read there."""
    bound = [value for value, i in zip(values, inside, strict=True) if not i]
    prefixes = ("", *(f"{value.upper()}_" for value in values))
    names = tuple(prefix + name for prefix in prefixes for name in PLACE)

    def element(prefix: str = "") -> str:
        return f"({prefix}PLANE * tokens + t) * {prefix}STRIDE + {prefix}FIRST + c"

    inputs = [f"@group(0) @binding({i}) var<storage, read> {v}_in: array<f32>;" for i, v in enumerate(bound, start=1)]
    lets = [f"let {v} = {'out' if i else v + '_in'}[{element(v.upper() + '_')}];" for v, i in zip(values, inside, strict=True)]
    shader = SHADER.format(
        constants="\n".join(f"const {n}: u32 = 1u;" for n in (*names, "PER_OUTPUT")),
        inputs="\n".join(inputs),
        last=len(bound) + 1,
        at=element(),
        lets="\n    ".join(lets),
        expression=wgsl,
    )
    declared = kernel(
        label,
        reads={f"{v}_in": f"f32[{v.upper()}_PLANES*tokens,{v.upper()}_STRIDE]" for v in bound},
        writes={"out": "f32[PLANES*tokens,STRIDE]"},
        constants=(*names, "PER_OUTPUT"),
        grid=lambda c: (Dim(c["COLUMNS"], THREADS), Dim(count="outputs" if c["PER_OUTPUT"] else "rows")),
        wgsl=shader,
    )

    @declared.reference
    def _(step: Any, c: Any, memo: Any, out: Any, **read: Any) -> None:
        x = view(out, c)
        x[:] = numpy(x, *(view(read.get(f"{v}_in", out), c, f"{v.upper()}_") for v in values))
