"""The worker's Python side: JSON in, JSON out, errors as one line that worker.js understands. Called by web/engine/worker.js only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

from py_rwkv.chat.service import ChatService
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.browser_device import BrowserDevice, call, limits_of, to_js
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import HARDWARE, SOFTWARE, prefill_tuning
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.programs import build_programs
from py_rwkv.tokenizer.world import WorldTokenizer

SLOTS = 4  # three conversations, and one for logits


class Crossing(Exception):
    """An RwkvError on its way to JavaScript, which sees only the text of an exception."""


def crossing(error: RwkvError) -> NoReturn:
    raise Crossing(json.dumps(error.to_dict(), default=str)) from None


def prepare() -> None:
    """What every chat needs and no model decides, done before the page takes its snapshot of Python. A vocabulary that is missing is reported by who needs it."""
    with suppress(RwkvError):
        WorldTokenizer.load()


def check(manifest: str, gpu: Any) -> None:
    """Refuse a model that this device cannot hold, before anything is downloaded. gpu: a `Gpu` of gpu.js, or None for numpy."""
    try:
        parsed = Manifest.from_json(manifest)
        if gpu is not None:
            decode = SOFTWARE if gpu.software else HARDWARE
            build_programs(parsed, decode, prefill_tuning(decode), limits_of(gpu.limits), SLOTS)
    except RwkvError as e:
        crossing(e)


async def convert_files(
    files: Any,
    name: str,
    strategy: str,
    gpu: Any,
    keep: Callable[[str, Any], None],
    settle: Callable[[], Awaitable[None]],
    progress: Callable[[str, int, int, str], None],
    cancelled: Callable[[], bool],
) -> str:
    """A dropped or fetched checkpoint → shards, given to `keep(sha256, Uint8Array)` one by one; returns the manifest. Needs numpy.

    files: sources of sources.js; gpu: a `Gpu` of gpu.js that nothing else uses, or None for numpy; settle: waits for what `keep` began.
    """
    from py_rwkv.browser.sources import PageSource, open_files
    from py_rwkv.checkpoint.convert import convert
    from py_rwkv.checkpoint.tokenizer_file import among, content
    from py_rwkv.devices.gpu_quantizer import GpuQuantizer
    from py_rwkv.models.config import detect

    class Keep:
        def shard(self, sha256: str, data: bytes) -> None:
            keep(sha256, to_js(data))

        def tokenizer(self, name: str, data: bytes) -> None:
            keep(name.split(".")[0], to_js(data))

        def finish(self, manifest: Manifest) -> None: ...
        def abort(self) -> None: ...

    def report(_: str, done: int, total: int) -> None:
        if cancelled():
            raise RwkvError("cancelled")
        progress("convert", done, total, "bytes")

    try:
        sources = [PageSource(file) for file in files]
        checkpoint = open_files(name, sources)
        words = among([source.name for source in sources], detect(checkpoint.shapes).vocab)
        tokenizer = content(next(source for source in sources if source.name == words)) if words else None
        more: dict[str, Any] = {"quantizer": GpuQuantizer(BrowserDevice(gpu)) if gpu is not None else None, "settle": lambda: call(settle)}
        return (
            await convert(checkpoint, Keep(), strategy=strategy, name=name or None, tokenizer=tokenizer, progress=report, **more)
        ).to_json()
    except RwkvError as e:
        crossing(e)


class _Shards:
    """Shards by number from the store: ArrayBuffers for the GPU, bytes for numpy."""

    def __init__(self, read: Callable[[int], Awaitable[Any]], as_bytes: bool) -> None:
        self._read, self._as_bytes = read, as_bytes

    async def read(self, index: int) -> Any:
        buffer = await call(self._read, index)
        return buffer.to_bytes() if self._as_bytes else buffer


async def open_model(
    manifest: str,
    read: Callable[[int], Awaitable[Any]],
    gpu: Any,
    progress: Callable[[str, int, int, str], None],
    tokenizer: Any = None,
) -> Service:
    """The model, ready to chat. read: JS function, shard number → promise of an ArrayBuffer; tokenizer: ArrayBuffer of its file, if it has one."""
    try:
        words = None if tokenizer is None else tokenizer.to_bytes()
        if gpu is None:
            from py_rwkv.devices.numpy_device import NumpyDevice

            device: Any = NumpyDevice()
        else:
            device = BrowserDevice(gpu)
        return Service(
            await Engine.load(
                Manifest.from_json(manifest), _Shards(read, gpu is None), device, slots=SLOTS, tokenizer=words, progress=progress
            )
        )
    except RwkvError as e:
        crossing(e)


class Service:
    """One loaded model for the worker."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.chats = ChatService(engine, SLOTS - 1)

    async def answer(self, request: str, emit: Callable[[str], None], cancelled: Callable[[], bool]) -> str:
        """A chat (`messages`) or a continuation (`prompt`). Streams chunks to `emit` and returns "", or returns the completion."""
        try:
            parsed = json.loads(request)
            if not parsed.get("stream"):
                return json.dumps(await self.chats.complete(parsed, cancelled))
            async for chunk in self.chats.stream(parsed, cancelled):
                emit(json.dumps(chunk))
            return ""
        except RwkvError as e:
            crossing(e)

    async def logits(self, tokens: str) -> Any:
        """f32 logits after the tokens of a JSON list, as a Uint8Array."""
        try:
            parsed = json.loads(tokens)
            if not isinstance(parsed, list) or not all(type(t) is int for t in parsed):
                raise RwkvError("bad-setting", name="tokens", expected="a list of whole numbers", found=tokens[:80])
            return to_js(await self.engine.logits(parsed))
        except RwkvError as e:
            crossing(e)

    def tokenize(self, text: str) -> str:
        """Token ids as a JSON list."""
        try:
            return json.dumps(self.engine.tokenizer.encode(text))
        except RwkvError as e:
            crossing(e)

    def info(self) -> str:
        """`Engine.info` as JSON."""
        return json.dumps(self.engine.info())

    def close(self) -> None:
        self.engine.close()
