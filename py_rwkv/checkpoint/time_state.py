"""State-tuned files (`blocks.N.att.time_state`, [head, value, key] as trained) → the initial recurrent state of each layer, in the model's orientation.

V7 keeps its state [head, value, key], V5 and V6 [head, key, value]. web-rwkv's `.st` copies are stored the other way round, and as the matrices are square
nothing in them says so: they are told by their name, format and precision, and `certain` is False then. A caller who knows better passes `layout`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.pth import PthTensor
from py_rwkv.checkpoint.source import ByteSource
from py_rwkv.checkpoint.state_file import Kind, State, decode_state, is_state_file
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.models.config import Config

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import F32

Layout = Literal["official", "web-rwkv"]
NAME = re.compile(r"blocks\.(\d{1,6})\.att\.time_state")


def open_state(source: ByteSource, config: Config, layout: Layout | None = None) -> State:
    """The state in a file, told by its content: one of ours, or a state-tuned one (its note `time_state` says which layout it was taken for).

    RwkvErrors of `decode_state` or `read_time_state`. Whether it belongs to a model's weights is for `check_state` to say.
    """
    if is_state_file(source):
        return decode_state(source)
    tuned = read_time_state(source, config, layout)
    note = tuned.layout if tuned.certain else f"{tuned.layout} (guessed)"
    return _state(config, tuned.layers, source.name, {"time_state": note})


def _state(config: Config, layers: Mapping[int, F32], source: str, notes: Mapping[str, str]) -> State:
    zero = State.zero(Kind.of(config))
    return replace(zero.with_arrays(wkv=np.stack([layers[i] for i in sorted(layers)])), source=source, notes=notes)


@dataclass(frozen=True)
class TimeState:
    """`layers[i]`: f32 [H, N, N], value-major for V7, key-major for V5 and V6. `certain`: the layout was known, not guessed."""

    layers: dict[int, F32]
    layout: Layout
    certain: bool


def read_time_state(source: ByteSource, config: Config, layout: Layout | None = None) -> TimeState:
    """The state in a file made for a model of this config. RwkvError: `state-mismatch` (expected, found), `bad-weights`, those of the file."""
    checkpoint = open_checkpoint(source)
    names = [name for name in checkpoint.tensors if NAME.fullmatch(name)]
    other = next((name for name in checkpoint.tensors if name not in names), "")
    if not names or other and not is_model(checkpoint):
        found = f"no state-tuning file (it holds {other[:80] or 'nothing'})"
        raise RwkvError("state-mismatch", file=source.name, expected=_wanted(config), found=found)
    if layout is None and checkpoint.dialect == "official" and not is_model(checkpoint):
        pth = all(isinstance(t, PthTensor) for t in checkpoint.tensors.values())
        halves = all(t.dtype == "F16" for t in checkpoint.tensors.values())
        guess: Layout = "web-rwkv" if not pth and (source.name.endswith(".st") or halves) else "official"
        return TimeState(_layers(checkpoint, config, guess), guess, pth)
    return TimeState(_layers(checkpoint, config, layout or "official"), layout or "official", True)


def default_state(checkpoint: Checkpoint, config: Config) -> State | None:
    """The initial state inside a model file (merged by training scripts), or None. `Checkpoint` has already turned a web-rwkv one."""
    if not any(NAME.fullmatch(name) for name in checkpoint.tensors):
        return None
    return _state(config, _layers(checkpoint, config, "official"), checkpoint.name, {})


def is_model(checkpoint: Checkpoint) -> bool:
    return "emb.weight" in checkpoint.tensors


def _layers(checkpoint: Checkpoint, config: Config, layout: Layout) -> dict[int, F32]:
    found = {int(m[1]): name for name in checkpoint.tensors if (m := NAME.fullmatch(name))}
    shape = (config.heads, config.head_size, config.head_size)
    shapes = {checkpoint.tensors[name].shape for name in found.values()}
    if config.version == "4" or set(found) != set(range(config.layers)) or shapes != {shape}:
        sizes = " or ".join(" × ".join(map(str, s)) for s in sorted(shapes))
        raise RwkvError("state-mismatch", file=checkpoint.name, expected=_wanted(config), found=f"{len(found)} layers of {sizes}")
    turn = (config.version == "7") == (layout == "web-rwkv")
    layers = {}
    for i, name in sorted(found.items()):
        state = checkpoint.f32(name)
        if not np.isfinite(state).all():
            raise RwkvError("bad-weights", name=name)
        layers[i] = np.ascontiguousarray(state.swapaxes(1, 2) if turn else state)
    return layers


def _wanted(config: Config) -> str:
    if config.version == "4":
        return "no such state (RWKV-4)"
    return f"{config.layers} layers of {config.heads} × {config.head_size} × {config.head_size} (RWKV-{config.version})"
