"""The native device with timestamp queries: how long the adapter itself says each dispatch took."""

from __future__ import annotations

import struct
from typing import Any

from py_rwkv.devices.wgpu_device import WgpuDevice, request_adapter
from py_rwkv.program import Step

FEATURE = "timestamp-query"


class _Timed:
    """An adapter whose devices can write timestamps."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def request_device_sync(self, *, required_features: Any = (), **options: Any) -> Any:
        return self._adapter.request_device_sync(required_features=[*required_features, FEATURE], **options)


class TimedDevice(WgpuDevice):
    """Like WgpuDevice, and `times` of a replay."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(_Timed(adapter))

    @classmethod
    def open(cls) -> TimedDevice | None:
        """None where the adapter has no timestamps."""
        adapter = request_adapter()
        return cls(adapter) if FEATURE in adapter.features else None

    def times(self, program: str, step: Step) -> list[int]:
        """Nanoseconds of each call of one replay, each in a pass of its own: a timestamp stands at a pass's beginning and end. 0 for an empty grid."""
        import wgpu

        calls = self._calls[program]
        queries = self.device.create_query_set(type="timestamp", count=2 * len(calls))
        result = self.device.create_buffer(size=16 * len(calls), usage=wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC)
        self.queue.write_buffer(self._step, 0, step.encode())
        encoder, timed = self.device.create_command_encoder(), []
        for i, (pipeline, bindings, call) in enumerate(calls):
            x, y = (d.workgroups(step) for d in call.grid)
            timed.append(x * y > 0)
            if not timed[-1]:
                continue
            stamps = {"query_set": queries, "beginning_of_pass_write_index": 2 * i, "end_of_pass_write_index": 2 * i + 1}
            compute = encoder.begin_compute_pass(timestamp_writes=stamps)
            compute.set_pipeline(pipeline)
            compute.set_bind_group(0, bindings)
            compute.dispatch_workgroups(x, y)
            compute.end()
        encoder.resolve_query_set(queries, 0, 2 * len(calls), result, 0)
        self.queue.submit([encoder.finish()])
        stamps_read = struct.unpack(f"<{2 * len(calls)}Q", self.queue.read_buffer(result))
        return [max(0, end - start) if real else 0 for real, start, end in zip(timed, stamps_read[::2], stamps_read[1::2], strict=True)]
