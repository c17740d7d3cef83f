"""What the page's chat asks of a loaded model beside answers: by name, JSON in, JSON or bytes out. Called through `Service.do`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from py_rwkv.browser.states import PageGauge
from py_rwkv.chat.api import Api
from py_rwkv.chat.errors import error_object
from py_rwkv.chat.service import ChatService
from py_rwkv.checkpoint.state_file import check_state, encode_state, is_state_file
from py_rwkv.devices.browser_device import to_js
from py_rwkv.errors import RwkvError

Cancelled = Callable[[], bool]


class ChatOperations:
    """Each takes its request as an object, then what JavaScript adds."""

    def __init__(self, chats: ChatService, api: Api) -> None:
        self.chats, self.api = chats, api

    async def templates(self, _: dict[str, Any]) -> str:
        return json.dumps(self.chats.templates())

    async def render(self, request: dict[str, Any]) -> str:
        return json.dumps(self.chats.render(request))

    async def needs_numpy(self, _: dict[str, Any], file: Any) -> bool:
        """Whether `load_state` needs numpy for this file (a source of sources.js): for any but our own."""
        from py_rwkv.browser.sources import PageSource

        return not is_state_file(PageSource(file))

    async def load_state(self, options: dict[str, Any], file: Any) -> str:
        """The id for requests' `state`. options: `layout` (official, web-rwkv), `force`. RwkvErrors of `open_state` and `check_state`."""
        from py_rwkv.browser.sources import PageSource
        from py_rwkv.checkpoint.time_state import open_state

        manifest, force = self.chats.engine.manifest, bool(options.get("force"))
        state = open_state(PageSource(file), manifest.config, options.get("layout"))
        check_state(state, manifest, force=force)
        return self.chats.add_start(state, force=force)

    async def save_state(self, request: dict[str, Any], cancelled: Cancelled) -> Any:
        """A state file, as a Uint8Array."""
        return to_js(encode_state(await self.chats.state_after(request, cancelled)))

    async def fork_state(self, request: dict[str, Any], cancelled: Cancelled) -> str:
        """The id for requests' `state` of what the model remembers of the messages. keep: the id it had before the model was loaded again."""
        name = str(request.pop("keep", ""))
        return self.chats.add_start(await self.chats.state_after(request, cancelled), name=name)

    async def models(self, asked: dict[str, Any]) -> str:
        """/v1/models, or /v1/models/`name`; an error brings its response along."""
        try:
            name = asked.get("name")
            return json.dumps(self.api.models() if name is None else self.api.model(name))
        except RwkvError as e:
            e.details["http"] = error_object(e)
            raise

    async def score(self, request: dict[str, Any], emit: Callable[[str], None], cancelled: Cancelled) -> str:
        """An entry of `logprobs.content` to `emit` for each token of the last message."""
        return json.dumps(await self.chats.score(request, lambda token: emit(json.dumps(token)), cancelled))

    async def trace(self, request: dict[str, Any], gauge: Any, emit: Callable[[str], None], cancelled: Cancelled) -> Any:
        """[how it ended as JSON, the Gauge of web/engine/trace.js with the last state]. gauge: its class."""
        from pyodide.ffi import to_js as convert

        watching = PageGauge(gauge, self.chats.engine)
        end = await self.chats.trace(request, lambda token: emit(json.dumps(token)), watching, cancelled)
        return convert([json.dumps(end), watching.page])
