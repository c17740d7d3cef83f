"""What a device is: it allocates a Program's buffers, takes shards, replays steps, and moves session state. It knows nothing of RWKV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from py_rwkv.models.builder import Limits
from py_rwkv.models.tuning import Choice, Features, Tuning
from py_rwkv.program import Buffer, Program, Step
from py_rwkv.runtime.upload import Upload


class Device(Protocol):
    """All methods that wait for the device are coroutines, so that one engine serves `wgpu`, numpy and the page."""

    kind: str  # "numpy" | "wgpu" | "webgpu"
    adapter: str  # a name for people
    loops: bool  # `run` takes `then` and `times`
    blocking: bool  # `run` works until it is done and never lets the event loop run
    limits: Limits
    identity: str  # what a stored choice belongs to: the adapter with its driver, as far as it tells
    features: Features
    given: bool  # whoever made the device has chosen its tuning
    decode: Tuning  # the forms that programs are built with
    prefill: Tuning

    def tune(self, choice: Choice) -> None:
        """Build programs in these forms from now on."""

    def twin(self, *, lend: bool = False) -> Device:
        """Another memory on the same adapter, with the same pipelines; lend: this one's buffers are in it too. To be closed before this device."""

    async def allocate(self, programs: Sequence[Program], *, keep: bool = False) -> None:
        """Make the programs' buffers, zeroed; the same name is the same memory. keep: what is there already stays as it is, if these programs need it."""

    async def compile(self, progress: Callable[[int, int], None]) -> None:
        """Build the allocated programs' pipelines, at least those of the first; `progress(done, total)` counts them. `run` waits for what is missing."""

    def ready(self, program: str) -> bool:
        """Whether a program can run without waiting for its pipelines."""

    async def upload(self, shard: Any, uploads: Sequence[Upload]) -> None:
        """Copy pieces of a shard (bytes, or the page's handle of one) into weight buffers."""

    async def run(self, program: str, step: Step, read: str = "", nbytes: int = 0, *, then: str = "", times: int = 1) -> bytes:
        """One replay, or one of `program` and then `then`, as often as `times` says, all in one submit.

        Returns the first `nbytes` of the buffer `read`, or waits for the end of the work when nothing is read.
        """

    def write(self, buffer: str, at: int, data: bytes) -> None:
        """Put bytes (a multiple of 4) at byte `at` of a buffer, before the next replay."""

    def clear(self, buffer: str, at: int, nbytes: int) -> None:
        """Zeros (a multiple of 4 bytes) at byte `at` of a buffer."""

    async def read(self, buffer: str, nbytes: int) -> bytes:
        """The first bytes of an output buffer, as the last replay left them."""

    async def read_state(self, slot: int) -> dict[str, bytes]:
        """The recurrent state of a slot: buffer name → f32 bytes."""

    def write_state(self, slot: int, state: dict[str, bytes]) -> None: ...
    def copy_state(self, source: int, target: int) -> None: ...
    def clear_state(self, slot: int) -> None: ...
    def gpu_bytes(self) -> int: ...
    def close(self) -> None: ...


def merged_buffers(programs: Sequence[Program]) -> dict[str, Buffer]:
    """Every buffer of some programs by name; a name stands for one size."""
    merged: dict[str, Buffer] = {}
    for program in programs:
        for name, buffer in program.buffers.items():
            if merged.setdefault(name, buffer).nbytes != buffer.nbytes:
                raise ValueError(f"buffer {name} has two sizes: {merged[name].nbytes} and {buffer.nbytes}")
    return merged


def slot_span(buffer: Buffer, slot: int) -> tuple[int, int]:
    """First byte and size of a slot in a state buffer."""
    size = 4
    for n in buffer.shape[1:]:
        size *= n
    return slot * size, size
