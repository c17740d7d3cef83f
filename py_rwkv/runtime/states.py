"""Between the buffers of a slot and a `State`. What a state is, and how its file looks: checkpoint/state_file.py.

A page keeps states as bytes: `encode_state(await session.state())` out, `session.set_state(decode_state(data))` in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.state_file import Kind, State, check_state, from_buffers, to_buffers

if TYPE_CHECKING:
    from py_rwkv.checkpoint.manifest import Manifest


def state_of(manifest: Manifest, buffers: Mapping[str, bytes], tokens: tuple[int, ...]) -> State:
    """What a slot of this model holds, after these tokens."""
    kind = Kind.of(manifest.config)
    return State(kind, from_buffers(kind, buffers), tokens, manifest.model_hash, manifest.name)


def buffers_of(manifest: Manifest, state: State, *, force: bool = False) -> dict[str, bytes]:
    """What a slot must hold to go on from `state`. RwkvErrors of `check_state`."""
    check_state(state, manifest, force=force)
    return to_buffers(state)
