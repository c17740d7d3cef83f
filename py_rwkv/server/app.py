"""The ASGI app: HTTP around `Api`, who may use it, and the server that runs it.

A page that a person visits can reach this machine's own ports, so: a Host that is not this machine's is refused (a name that somebody else made point here), so
is an Origin that was not allowed, and a body that is not declared as JSON (which a page may send anywhere without asking).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from py_rwkv.chat.api import Api, Response, events
from py_rwkv.chat.errors import error_object
from py_rwkv.errors import RwkvError

MAX_BODY = 32 << 20  # bytes
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
PORTS = range(8000, 8100)
STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


def app(api: Api, *, hosts: Sequence[str] | None = LOOPBACK, origins: Sequence[str] = ()) -> Starlette:
    """The app. hosts: what a request's Host may be, None: anything; origins: of pages that may use it, `*`: all."""
    cors = Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"])
    guard = Middleware(Guard, hosts=hosts, origins=origins)
    return Starlette(routes=[Mount("/", app=Endpoint(api))], middleware=[guard, *([cors] if origins else [])])


class Guard:
    """Refuses requests by their Host and Origin."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None, origins: Sequence[str]) -> None:
        self.app, self.hosts, self.origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Request(scope).headers
            host, origin = headers.get("host", ""), headers.get("origin")
            found = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::\d*)?", host)
            error = None
            if self.hosts is not None and (found is None or found[1].lower() not in self.hosts):
                error = RwkvError("refused-origin", found=f"The address {host[:80]}", option="--host")
            elif origin is not None and origin not in self.origins and "*" not in self.origins:
                error = RwkvError("refused-origin", found=f"The page {origin[:80]}", option="--cors")
            if error:
                return await _failed(error)(scope, receive, send)
        await self.app(scope, receive, send)


class Endpoint:
    """A request to the Api, and its answer back. Somebody who hangs up ends the answer that was for them."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(Request(scope, receive))
        except RwkvError as e:
            return await _failed(e)(scope, receive, send)
        except ClientDisconnect:
            return
        gone = asyncio.Event()
        watching = asyncio.ensure_future(_until_gone(receive, gone))
        try:
            answer = await self._answer(scope, body, gone)
            if answer.chunks is not None:
                await self._stream(answer, send, gone)
            elif not gone.is_set():
                await JSONResponse(answer.body, answer.status)(scope, receive, send)
        finally:
            watching.cancel()

    async def _answer(self, scope: Scope, body: bytes, gone: asyncio.Event) -> Response:
        try:
            return await self.api.respond(scope["method"], scope["path"], body, gone.is_set)
        except Exception as e:
            logging.getLogger("py_rwkv").exception("a request failed")
            status, said = error_object(RwkvError("internal", reason=str(e)))
            return Response(status, said)

    async def _stream(self, answer: Response, send: Send, gone: asyncio.Event) -> None:
        assert answer.chunks is not None
        await send({"type": "http.response.start", "status": answer.status, "headers": STREAM})
        lines: Any = events(answer.chunks)
        async with aclosing(lines):
            async for line in lines:
                if not gone.is_set():  # else it is about to end
                    await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self, request: Request) -> bytes:
        if request.method != "POST":
            return b""
        kind = request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise RwkvError("not-json", expected="application/json", found=kind[:80] or "nothing")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                raise RwkvError("too-long", limit=MAX_BODY)
        return bytes(body)


async def _until_gone(receive: Receive, gone: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _failed(error: RwkvError) -> JSONResponse:
    status, said = error_object(error)
    return JSONResponse(said, status)


def bind(host: str = "127.0.0.1", port: int | None = None) -> socket.socket:
    """A socket for the server, on `port` (0: any), or on the first free one from 8000 on. RwkvError `port-busy`."""
    reason = ""
    for number in PORTS if port is None else (port,):
        try:
            return socket.create_server((host, number), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise RwkvError("port-busy", port=port if port is not None else f"{PORTS[0]}–{PORTS[-1]}", host=host, reason=reason)


def server(app: ASGIApp) -> uvicorn.Server:
    """A server for the app; `await server.serve(sockets=[…])` runs it until somebody interrupts, or sets `should_exit`."""
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=3))
