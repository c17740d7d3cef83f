"""Encodes a checkpoint's rows on a device: uploads them as their file has them, reads back the parts. What has no kernel is left to numpy."""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING

from py_rwkv.checkpoint.quantizer import NumpyQuantizer, Rows
from py_rwkv.devices.base import Device
from py_rwkv.kernels import KERNELS, quantize, shape_of
from py_rwkv.lazy import np
from py_rwkv.program import Buffer, Call, Program, Run, Step
from py_rwkv.quant import BLOCK, ENCODINGS

if TYPE_CHECKING:
    from py_rwkv.quant.encoding import Parts

STEP = Step.of([Run(0, [0])])  # the kernels read their sizes from a buffer


class GpuQuantizer:
    """A `Quantizer`; the device is its own, for the programs replace those that are allocated there."""

    def __init__(self, device: Device, weights: int = 1 << 21) -> None:
        self.device, self.weights = device, weights
        self._programs: dict[str, Program] = {}
        self._numpy = NumpyQuantizer()

    async def encode(self, encoding: str, rows: Rows) -> Parts:
        kernel, name = f"quantize_{encoding}", f"{encoding} from {rows.dtype}"
        sizes = quantize.sizes(len(rows), rows.columns)
        blocks = sizes[0] * sizes[3]
        if kernel not in KERNELS or blocks > self.capacity:
            return await self._numpy.encode(encoding, rows)
        if name not in self._programs:
            self._programs[name] = self._program(name, encoding, rows.dtype.lower())
            await self.device.allocate(list(self._programs.values()))
            await self.device.compile(lambda done, total: None)
        self.device.write("shape", 0, struct.pack("<4I", *sizes))
        self.device.write("source", 0, rows.data + bytes(-len(rows.data) % 4))
        (q_type, q_shape), (_, scale_shape) = (ENCODINGS[encoding].layout(len(rows), sizes[2])[suffix] for suffix in ("", ".scale"))
        q = np.frombuffer(await self.device.run(name, STEP, "q", prod(q_shape)), np.int8 if q_type == "I8" else np.uint8)
        words = np.frombuffer(await self.device.read("scale", 4 * blocks), "<u4")
        return {".scale": quantize.scale_bytes(words, encoding).reshape(scale_shape), "": q.reshape(q_shape)}

    @property
    def capacity(self) -> int:
        return self.weights // BLOCK

    def _program(self, name: str, encoding: str, dtype: str) -> Program:
        kernel = f"quantize_{encoding}"
        constants = quantize.constants(encoding, dtype, self.capacity)
        arrays = {**KERNELS[kernel].reads, **KERNELS[kernel].writes}
        buffers = tuple(Buffer(array, shape_of(text, constants)[1], "u32", "output") for array, text in arrays.items())
        return Program(name, [Call(kernel, constants, buffers, KERNELS[kernel].grid(constants), "quantize", 0)])
