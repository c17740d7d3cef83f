"""A Vault (chat/prefix_cache.py) whose bytes stay in JavaScript (web/engine/states.js): with a GPU they never enter Python's memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from py_rwkv.checkpoint.state_file import Kind
from py_rwkv.devices.base import slot_span
from py_rwkv.devices.browser_device import BrowserDevice, call, from_json, to_js
from py_rwkv.runtime.engine import Engine

LAYOUT = 1  # how a slot's buffers lie in a state's bytes: one after the other, by name


class PageVault:
    """`states`: a `States` of states.js."""

    def __init__(self, states: Any, engine: Engine) -> None:
        self.states, self.device = states, engine.device
        states.begin(f"{engine.manifest.model_hash} {LAYOUT}")

    def lengths(self) -> Sequence[int]:
        return list(self.states.lengths())

    async def keep(self, key: str, length: int, session: Any, extra: bytes) -> None:
        if self.states.touch(key):
            return
        if isinstance(self.device, BrowserDevice):
            self.states.take(key, length, to_js(extra), self.device.gpu, from_json(self.spans(session.slot)))
        else:
            self.states.keep(key, length, to_js(extra), to_js(self._joined(await self.device.read_state(session.slot))))

    async def restore(self, keys: Sequence[str], session: Any) -> tuple[str, bytes] | None:
        found = await call(self.states.find, from_json(list(keys)))
        if found is None:
            return None
        spans = self.spans(session.slot)
        if int(found.data.length) != sum(size for _, _, size in spans):
            return None
        if isinstance(self.device, BrowserDevice):
            self.device.gpu.restore(from_json(spans), found.data)
        else:
            data, at, buffers = found.data.to_bytes(), 0, {}
            for name, _, size in spans:
                buffers[name] = data[at : at + size]
                at += size
            self.device.write_state(session.slot, buffers)
        return str(found.key), bytes(found.extra.to_bytes())

    def pin(self, key: str, buffers: Mapping[str, bytes]) -> None:
        self.states.pin(key, to_js(self._joined(buffers)))

    def usage(self) -> dict[str, Any]:
        return {}  # the worker asks states.js

    def spans(self, slot: int) -> list[tuple[str, int, int]]:
        """(buffer, first byte, size) of everything a slot remembers."""
        buffers = self.device.buffers  # type: ignore[attr-defined]
        return sorted((b.name, *slot_span(b, slot)) for b in buffers.values() if b.role == "state")

    def _joined(self, buffers: Mapping[str, bytes]) -> bytes:
        return b"".join(buffers[name] for name, _, _ in self.spans(0))


class PageGauge:
    """A Gauge (chat/trace.py) that computes in JavaScript. `Gauge`: the class of web/engine/trace.js; `page`: what it made."""

    def __init__(self, gauge: Any, engine: Engine) -> None:
        self.page = gauge.new(json.dumps(Kind.of(engine.config)._asdict()))
        self.engine = engine

    async def state(self, slot: int) -> list[float] | None:
        device, names = self.engine.device, [f"state.{i}.wkv" for i in range(self.engine.config.layers)]
        if isinstance(device, BrowserDevice):
            spans = [(name, *slot_span(device.buffers[name], slot)) for name in names]
            data = await call(device.gpu.read, from_json(spans))
        else:
            buffers = await self.engine.read_state(slot)
            data = to_js(b"".join(buffers[name] for name in names))
        change = self.page.look(data)
        return None if change is None else list(change)

    def logits(self, data: bytes, token: int) -> tuple[float, float]:
        logprob, entropy = self.page.logits(to_js(data), token)
        return logprob, entropy

    def norms(self) -> list[float]:
        return list(self.page.norms())
