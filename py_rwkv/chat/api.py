"""OpenAI's endpoints without a transport: a method, a path and a body in; a status and JSON, or a stream of chunks, out.

    POST /v1/chat/completions    POST /v1/completions    GET /v1/models    GET /v1/models/{id}

The page's `engine.fetch` and `py-rwkv serve --api` carry them; what a request may say is in `chat/openai.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from py_rwkv.chat.errors import error_object
from py_rwkv.chat.service import Cancel, ChatService
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import never

ENDPOINTS = {"chat/completions": "messages", "completions": "prompt"}  # and the field that each needs


@dataclass(frozen=True)
class Response:
    """chunks: of a stream, in place of a body."""

    status: int
    body: dict[str, Any] | None = None
    chunks: AsyncIterator[dict[str, Any]] | None = None


class Api:
    """The endpoints of one model. ids: what it may be called beside its name; created: when it was loaded, Unix time."""

    def __init__(self, chats: ChatService, ids: tuple[str, ...] = (), created: int = 0) -> None:
        self.chats, self.created = chats, created
        self.ids = tuple(dict.fromkeys((chats.name, *ids)))

    def models(self) -> dict[str, Any]:
        """The list of /v1/models: the one that is loaded."""
        return {"object": "list", "data": [self.model(self.chats.name)]}

    def model(self, name: str) -> dict[str, Any]:
        """One of /v1/models. RwkvError `unknown-model`."""
        self.check_model(name)
        return {"id": self.chats.name, "object": "model", "created": self.created, "owned_by": "rwkv"}

    def check_model(self, name: object) -> None:
        """RwkvError `unknown-model` for another than the one that is loaded; capitals and separators do not matter."""
        if _plain(name) not in map(_plain, self.ids):
            raise RwkvError("unknown-model", name=str(name)[:80], known=", ".join(self.ids))

    def checked(self, endpoint: str, request: object) -> dict[str, Any]:
        """A request to one of ENDPOINTS, its model and its main field looked at. RwkvErrors `bad-setting`, `unknown-setting`, `unknown-model`."""
        needs = ENDPOINTS[endpoint]
        if not isinstance(request, Mapping):
            raise RwkvError("bad-setting", name="the request", expected="a JSON object", found=type(request).__name__, param=None)
        for other in set(ENDPOINTS.values()) - {needs}:
            if other in request:
                raise RwkvError("unknown-setting", name=other, known=f"of /v1/{endpoint}: {needs}")
        if request.get(needs) is None:
            raise RwkvError("bad-setting", name=needs, expected="in every request", found="absent")
        if (model := request.get("model")) is not None and isinstance(model, str):
            self.check_model(model)
        return dict(request)

    async def respond(self, method: str, path: str, body: bytes = b"", cancel: Cancel = never) -> Response:
        """Answer a request; errors are responses, too. In a stream the first chunk is known when this returns, so what is wrong with a request has its status."""
        try:
            return await self._respond(method, path.rstrip("/"), body, cancel)
        except RwkvError as e:
            status, said = error_object(e)
            return Response(status, said)

    async def _respond(self, method: str, path: str, body: bytes, cancel: Cancel) -> Response:
        endpoint = path.removeprefix("/v1/")
        get = endpoint == "models" or endpoint.startswith("models/")
        if not path.startswith("/v1/") or not (get or endpoint in ENDPOINTS):
            raise RwkvError("unknown-endpoint", path=path[:80], known=", ".join(f"/v1/{e}" for e in (*ENDPOINTS, "models")))
        if method != ("GET" if get else "POST"):
            raise RwkvError("wrong-method", method=method[:20], path=path[:80], expected="GET" if get else "POST")
        if get:
            return Response(200, self.models() if endpoint == "models" else self.model(endpoint.removeprefix("models/")))
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as e:
            raise RwkvError("bad-json", reason=str(e)[:80]) from None
        request = self.checked(endpoint, parsed)
        if request.get("stream") is not True:
            return Response(200, await self.chats.complete(request, cancel))
        chunks: Any = self.chats.stream(request, cancel)
        first = await anext(chunks)

        async def rest() -> AsyncIterator[dict[str, Any]]:
            async with aclosing(chunks):
                yield first
                async for chunk in chunks:
                    yield chunk

        return Response(200, chunks=rest())


def _plain(name: object) -> str:
    return re.sub(r"[^\w.]+", "-", str(name).casefold())


async def events(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Chunks as server-sent events, `[DONE]` at the end; an error in between is an event with an error object."""
    closing: Any = chunks
    try:
        async with aclosing(closing):
            async for chunk in closing:
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"
    except RwkvError as e:
        yield f"data: {json.dumps(error_object(e)[1], ensure_ascii=False)}\n\n"
