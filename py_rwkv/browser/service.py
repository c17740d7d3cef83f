"""The worker's Python side: JSON in, JSON out, errors as one line that worker.js understands. Called by web/engine/worker.js only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from math import prod
from time import time
from typing import Any, NoReturn

from py_rwkv.browser.chat import ChatOperations
from py_rwkv.browser.states import PageVault
from py_rwkv.chat.api import ENDPOINTS, Api
from py_rwkv.chat.errors import error_object
from py_rwkv.chat.service import ChatService
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.browser_device import BrowserDevice, call, features_of, limits_of, to_js
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config, tensors
from py_rwkv.models.tuning import preset
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.programs import build_programs
from py_rwkv.runtime.sampling import number
from py_rwkv.runtime.script import Script
from py_rwkv.runtime.tuner import Tuner
from py_rwkv.tokenizer.world import WorldTokenizer

SLOTS = 4  # three conversations, and one for logits; a benchmark asks for more


class Crossing(Exception):
    """An RwkvError on its way to JavaScript, which sees only the text of an exception."""


def crossing(error: RwkvError) -> NoReturn:
    raise Crossing(json.dumps(error.to_dict(), default=str)) from None


def prepare() -> None:
    """What every chat needs and no model decides, done before the page takes its snapshot of Python. A vocabulary that is missing is reported by who needs it."""
    with suppress(RwkvError):
        WorldTokenizer.load()


def check(manifest: str, gpu: Any, slots: int = SLOTS) -> None:
    """Refuse a model that this device cannot hold, before anything is downloaded. gpu: a `Gpu` of gpu.js, or None for numpy."""
    try:
        parsed = Manifest.from_json(manifest)
        if gpu is not None:
            forms = preset(features_of(gpu.features))
            build_programs(parsed, forms.decode, forms.prefill, limits_of(gpu.limits), slots)
    except RwkvError as e:
        crossing(e)


async def convert_files(
    files: Any,
    name: str,
    strategy: str,
    gpu: Any,
    keep: Callable[[str, Any, str], None],
    settle: Callable[[], Awaitable[None]],
    progress: Callable[[str, int, int, str], None],
    cancelled: Callable[[], bool],
    begun: str = "",
) -> str:
    """A dropped or fetched checkpoint → shards, given to `keep(sha256, Uint8Array, state)` one by one; returns the manifest. Needs numpy.

    begun: the last state that `keep` got in an interrupted conversion; it goes on there.
    files: sources of sources.js; gpu: a `Gpu` of gpu.js that nothing else uses, or None for numpy; settle: waits for what `keep` began.
    """
    from py_rwkv.browser.sources import PageSource, open_files
    from py_rwkv.checkpoint.convert import convert
    from py_rwkv.checkpoint.resume import Resume
    from py_rwkv.checkpoint.tokenizer_file import among, content
    from py_rwkv.devices.gpu_quantizer import GpuQuantizer
    from py_rwkv.models.config import detect

    class Keep:
        def shard(self, sha256: str, data: bytes) -> None:
            keep(sha256, to_js(data), resume.state())

        def tokenizer(self, name: str, data: bytes) -> None:
            keep(name.split(".")[0], to_js(data), resume.state())

        def finish(self, manifest: Manifest) -> None: ...
        def abort(self) -> None: ...

    def report(_: str, done: int, total: int) -> None:
        if cancelled():
            raise RwkvError("cancelled")
        progress("convert", done, total, "bytes")

    resume = Resume(begun)
    try:
        sources = [PageSource(file) for file in files]
        checkpoint = open_files(name, sources)
        words = among([source.name for source in sources], detect(checkpoint.shapes).vocab)
        tokenizer = content(next(source for source in sources if source.name == words)) if words else None
        more: dict[str, Any] = {
            "quantizer": GpuQuantizer(BrowserDevice(gpu)) if gpu is not None else None,
            "settle": lambda: call(settle),
            "resume": resume,
        }
        return (
            await convert(checkpoint, Keep(), strategy=strategy, name=name or None, tokenizer=tokenizer, progress=report, **more)
        ).to_json()
    except RwkvError as e:
        crossing(e)


def plan(config: str, strategies: str) -> str:
    """What a model takes: a config and a list of strategies as JSON in, {strategy: {disk, gpu, binding}} in bytes out. `unknown-strategy` names what is wrong."""
    from py_rwkv.runtime.plan import need

    try:
        parsed = Config.from_json(json.loads(config))
        return json.dumps({strategy: asdict(need(parsed, strategy)) for strategy in json.loads(strategies)})
    except RwkvError as e:
        crossing(e)


def inspect_files(files: Any, name: str, strategies: str) -> str:
    """`plan` of a checkpoint whose header is read now (sources of sources.js), with its name, config, parameters and bytes."""
    from py_rwkv.browser.sources import PageSource, open_files
    from py_rwkv.models.config import detect

    try:
        sources = [PageSource(file) for file in files]
        checkpoint = open_files(name, sources)
        config = detect(checkpoint.shapes)
        facts = {"name": name or checkpoint.name.rsplit(".", 1)[0], "bytes": sum(source.size for source in sources)}
        facts |= {"config": config.to_json(), "parameters": sum(prod(shape) for shape in checkpoint.shapes.values())}
        return json.dumps({**facts, "sizes": json.loads(plan(json.dumps(config.to_json()), strategies))})
    except RwkvError as e:
        crossing(e)


def inspect_manifest(manifest: str) -> str:
    """The same of a packed model: its one strategy."""
    from py_rwkv.runtime.plan import need_of

    try:
        m = Manifest.from_json(manifest)
        facts = {"name": m.name, "bytes": m.total_bytes, "config": m.config.to_json()}
        facts |= {"parameters": sum(prod(t.shape) for t in tensors(m.config)), "packed": True}
        return json.dumps({**facts, "sizes": {m.quantization: asdict(need_of(m))}})
    except RwkvError as e:
        crossing(e)


class _Shards:
    """Shards by number from the store: ArrayBuffers for the GPU, bytes for numpy."""

    def __init__(self, read: Callable[[int], Awaitable[Any]], as_bytes: bool) -> None:
        self._read, self._as_bytes = read, as_bytes

    async def read(self, index: int) -> Any:
        buffer = await call(self._read, index)
        return buffer.to_bytes() if self._as_bytes else buffer


class _Kept:
    """`keeper` of web/engine/tuning.js."""

    def __init__(self, page: Any) -> None:
        self._page = page

    async def get(self, key: str) -> str | None:
        text = await call(self._page.get, key)
        return None if text is None else str(text)

    async def put(self, key: str, text: str) -> None:
        await call(self._page.put, key, text)


async def open_model(
    manifest: str,
    read: Callable[[int], Awaitable[Any]],
    gpu: Any,
    progress: Callable[[str, int, int, str], None],
    tokenizer: Any = None,
    slots: int = SLOTS,
    kept: Any = None,
    tuning: Any = "auto",
    states: Any = None,
    script: Script | None = None,
    parallel: int | None = None,
    name: str = "",
) -> Service:
    """The model, ready to chat. read: JS function, shard number → promise of an ArrayBuffer; tokenizer: ArrayBuffer of its file, if it has one; slots: ≥ SLOTS.

    kept, tuning: where the choice of kernels is stored (web/engine/tuning.js), by build, and how it is made (docs/tuning.md).
    states: where states of what was read are kept (web/engine/states.js). script: what a person's script has registered (browser/hooks.py).
    parallel: answers at a time, fewer than slots. name: what the page calls the model.
    """
    try:
        words = None if tokenizer is None else tokenizer.to_bytes()
        if gpu is None:
            from py_rwkv.devices.numpy_device import NumpyDevice

            device: Any = NumpyDevice()
        else:
            device = BrowserDevice(gpu)
        tuner = Tuner(_Kept(kept), "", tuning) if kept is not None else None
        more: dict[str, Any] = {"slots": slots, "tokenizer": words, "tuner": tuner, "progress": progress}
        more["hooks"] = script.hooks if script else ()
        return Service(
            await Engine.load(Manifest.from_json(manifest), _Shards(read, gpu is None), device, **more), states, script, parallel, name
        )
    except RwkvError as e:
        crossing(e)


class Service:
    """One loaded model for the worker."""

    def __init__(
        self, engine: Engine, states: Any = None, script: Script | None = None, parallel: int | None = None, name: str = ""
    ) -> None:
        parallel = int(number("parallel", SLOTS - 1 if parallel is None else parallel, 1, engine.slots - 1, True))
        self.engine = engine
        self.chats = ChatService(engine, parallel, None if states is None else PageVault(states, engine), script)
        self.api = Api(self.chats, (name,) if name else (), int(time()))
        self._operations = ChatOperations(self.chats, self.api)

    async def do(self, operation: str, request: str, *more: Any) -> Any:
        """One of `ChatOperations`, with a JSON object for it."""
        try:
            return await getattr(self._operations, operation)(json.loads(request), *more)
        except RwkvError as e:
            crossing(e)

    async def answer(self, request: str, emit: Callable[[str], None], cancelled: Callable[[], bool]) -> str:
        """A chat (`messages`) or a continuation (`prompt`). Streams chunks to `emit` and returns "", or returns the completion.

        endpoint: of a request over HTTP (web/engine/fetch.js); then an error brings its response along.
        """
        endpoint, parsed = None, json.loads(request)
        try:
            if parsed.get("endpoint") in ENDPOINTS:
                endpoint = parsed.pop("endpoint")
                parsed = self.api.checked(endpoint, parsed)
            if not parsed.get("stream"):
                return json.dumps(await self.chats.complete(parsed, cancelled))
            async for chunk in self.chats.stream(parsed, cancelled):
                emit(json.dumps(chunk))
            return ""
        except RwkvError as e:
            if endpoint:
                e.details["http"] = error_object(e)
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

    async def bench(self, plan: str, gpu: Any, emit: Callable[[str], None], cancelled: Callable[[], bool]) -> str:
        """Measure this model: `Plan` as a JSON object in, the report of `bench.measure` out, its parts to `emit` as they are done. gpu: a `Gpu` of its own for
        the adapter's limits, or None. RwkvErrors `bad-setting`, `no-free-slot`, `cancelled`.
        """
        from py_rwkv.bench.ceiling import measure
        from py_rwkv.bench.measure import bench, plan_of

        try:
            asked = plan_of(json.loads(plan))
            limits = None if gpu is None else await measure(BrowserDevice(gpu), most=(16 if gpu.software else 128) << 20, repeat=3)
            part = lambda name, value: emit(json.dumps({name: value}))  # noqa: E731
            return json.dumps(await bench(self.engine, asked, limits, event=part, cancel=cancelled))
        except RwkvError as e:
            crossing(e)

    def run_script(self, text: str, name: str) -> str:
        """`browser.hooks.run` beside this model."""
        from py_rwkv.browser import hooks

        return hooks.run(self.chats.script, text, name)

    async def call_script(self, name: str, argument: str) -> str:
        """`browser.hooks.call` of what was registered."""
        from py_rwkv.browser import hooks

        return await hooks.call(self.chats.script, name, argument)

    async def verify(self) -> bool:
        """`Tuner.verify`: False if the model should be loaded again."""
        try:
            return self.engine.tuner is None or await self.engine.tuner.verify()
        except RwkvError as e:
            crossing(e)

    def tokenize(self, text: str) -> str:
        """Token ids as a JSON list."""
        try:
            return json.dumps(self.engine.tokenizer.encode(text))
        except RwkvError as e:
            crossing(e)

    def info(self) -> str:
        """`Engine.info` and `ChatService.info` as JSON."""
        return json.dumps(self.engine.info() | self.chats.info())

    def close(self) -> None:
        self.engine.close()
