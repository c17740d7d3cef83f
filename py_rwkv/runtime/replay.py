"""Replays that stop for Python functions: the calls between two cuts are a Program of their own, so that devices know nothing of hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING

from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.lazy import np
from py_rwkv.program import Cut, Point, Program, Step

if TYPE_CHECKING:
    from numpy import ndarray


def pieces(program: Program) -> list[tuple[Program, list[Cut]]]:
    """The Program cut before every call that a function waits for, with the cuts after each piece. Without cuts: the Program itself."""
    if not program.cuts:
        return [(program, [])]
    ends = sorted({cut.at for cut in program.cuts} | {len(program.calls)})
    out, start = [], 0
    for number, end in enumerate(ends):
        part = Program(f"{program.name}/{number}", program.calls[start:end], program.max_rows, program.max_outputs)
        out.append((part, [cut for cut in program.cuts if cut.at == end]))
        start = end
    return out


class Replay:
    """Runs Programs on a device, step by step through their pieces. While not `active`, no function is called (the engine's warm-up)."""

    def __init__(self, device: Device, programs: Sequence[Program]) -> None:
        self.device, self.active = device, False
        self._pieces = {program.name: pieces(program) for program in programs}

    @property
    def programs(self) -> list[Program]:
        """What the device has to allocate and compile."""
        return [part for parts in self._pieces.values() for part, _ in parts]

    @property
    def stops(self) -> bool:
        """Whether a function waits for every step: then several cannot be replayed in one go."""
        return any(len(parts) > 1 for parts in self._pieces.values())

    async def run(self, program: str, step: Step, read: str, nbytes: int) -> bytes:
        """As `Device.run`. Errors of a function pass through; the state is then that of a step not finished."""
        *_, (last, _) = parts = self._pieces[program]
        for part, cuts in parts:
            wanted = (read, nbytes) if part is last else ("", 0)
            raw = await self.device.run(part.name, step, *wanted)
            for cut in cuts if self.active else ():
                if cut.point.count == "rows" or step.outputs:
                    await self._call(cut, program, step)
        return raw

    async def _call(self, cut: Cut, program: str, step: Step) -> None:
        frame = ReplayFrame(self.device, cut, program, step)
        result = cut.callback(await frame.read(cut.point.name), frame)
        if isawaitable(result):
            result = await result
        if result is not None:
            frame.write(cut.point.name, result)


@dataclass(frozen=True)
class ReplayFrame:
    """The Frame (py_rwkv/hooks.py) of a cut in a running step."""

    device: Device
    cut: Cut
    program: str
    step: Step

    @property
    def point(self) -> Point:
        return self.cut.point

    @property
    def rows(self) -> tuple[int, ...]:
        """The step's row of every row of the value."""
        return self._rows(self.cut.point)

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(self.step.slots[row] for row in self.rows)

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(self.step.tokens[row] for row in self.rows)

    async def read(self, name: str) -> ndarray:
        p = self._point(name)
        tokens = len(self._rows(p))
        raw = await self.device.read(p.buffer.name, 4 * (p.planes * tokens * p.stride))
        value: ndarray = np.frombuffer(raw, np.float32).reshape(-1, p.stride)[p.plane * tokens :, p.first : p.first + p.columns].copy()
        return value

    def write(self, name: str, value: ndarray) -> None:
        p = self._point(name)
        tokens = len(self._rows(p))
        array = np.ascontiguousarray(value, dtype=np.float32)
        if array.shape != (tokens, p.columns):
            shapes = {"expected": f"[{tokens}, {p.columns}]", "found": str(list(array.shape))}
            raise RwkvError("bad-hook-value", point=name, **shapes)
        whole = p.columns == p.stride
        for row, data in enumerate([array] if whole else array):
            self.device.write(p.buffer.name, 4 * ((p.plane * tokens + row) * p.stride + p.first), data.tobytes())

    def _rows(self, point: Point) -> tuple[int, ...]:
        return self.step.output_rows if point.count == "outputs" else tuple(range(self.step.rows))

    def _point(self, name: str) -> Point:
        if name not in self.cut.live:
            raise RwkvError("bad-hook", point=self.cut.point.name, reason=f"{name} is not in memory here")
        return self.cut.live[name]
