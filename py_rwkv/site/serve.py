"""A static file server for the built site: right media types, caching, byte ranges, a strict Content-Security-Policy."""

from __future__ import annotations

import os
import re
import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from py_rwkv.errors import RwkvError

# The same policy stands in web/index.html for servers that send none; workers only get it from the header (or from the service worker, which adds it to what
# it keeps). `connect-src` is wide because models may come from any address that a person gives: from https, and from http where the page itself is on http or
# the address is this machine. Scripts come from here only, so nobody else can use it; images, frames and styles from elsewhere stay out.
CSP = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' https: http: blob:; "
    "worker-src 'self'; frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types rwkv dompurify 'allow-duplicates'"
)
HEADERS = {
    "Content-Security-Policy": f"{CSP}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Access-Control-Allow-Origin": "*",  # other sites may use the engine; nothing here is secret, and nothing depends on who asks
    "Cross-Origin-Resource-Policy": "cross-origin",  # also sites that isolate themselves (Cross-Origin-Embedder-Policy)
}
FRAMED = "embed.html"  # what other sites may show in a frame


def headers_of(path: str) -> dict[str, str]:
    """The headers of every response for this path of the site."""
    return {**HEADERS, "Content-Security-Policy": CSP} if path.rpartition("/")[2] == FRAMED else HEADERS


TYPES = {
    "": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".png": "image/png",
    ".wgsl": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".whl": "application/zip",
    ".zip": "application/zip",
}
CONTENT_ADDRESSED = re.compile(r"/(py_rwkv-[0-9a-f]{16}\.zip|[0-9a-f]{64}\.safetensors)$")
PORTS = range(8000, 8100)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = TYPES
    timeout = 60  # s, of an idle connection
    left: int | None = None  # bytes of the range still to send

    def send_head(self) -> Any:
        """Like the base class, with an ETag, `304 Not Modified` and a single byte range."""
        path = Path(self.translate_path(self.path))
        if path.is_dir():
            if not urlsplit(self.path).path.endswith("/"):
                return super().send_head()  # redirects to the address with the slash
            path = path / "index.html"
        try:
            file = path.open("rb")
            stat = path.stat()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        tag, start, end = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"', 0, stat.st_size
        status = HTTPStatus.OK
        if self.headers.get("If-None-Match") == tag:
            status, end = HTTPStatus.NOT_MODIFIED, 0
        elif wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = wanted.groups()
            if first:
                start, end = int(first), min(int(last) + 1 if last else end, end)
            elif last:
                start = max(end - int(last), 0)
            status = HTTPStatus.PARTIAL_CONTENT if start < end else HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{stat.st_size}")
        elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.send_header("Content-Range", f"bytes */{stat.st_size}")
            end = start
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", self.guess_type(str(path)))
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        file.seek(start)
        self.left = end - start
        return file

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        while self.left and (chunk := source.read(min(self.left, 1 << 18))):
            outputfile.write(chunk)
            self.left -= len(chunk)

    def end_headers(self) -> None:
        for name, value in headers_of(urlsplit(self.path).path).items():
            self.send_header(name, value)
        unchanging = CONTENT_ADDRESSED.search(urlsplit(self.path).path)
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if unchanging else "no-cache")
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would share a busy port

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a browser that closes a connection half-way is no news


class Server:
    """A running server; a context manager that stops it. url: the address to open."""

    def __init__(self, http: _Server, url: str) -> None:
        self._http, self.url = http, url
        self._thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until somebody calls `close` (or interrupts)."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve(directory: str | Path, port: int | None = None, host: str = "127.0.0.1") -> Server:
    """Serve `directory` in the background, on `port` (0: any), or on the first free one from 8000 on. Raises `resource-missing`, `port-busy`."""
    folder = Path(directory).resolve()
    if not folder.is_dir():
        raise RwkvError("resource-missing", path=str(folder))

    def handler(*args: Any) -> _Handler:
        return _Handler(*args, directory=str(folder))

    reason = ""
    for number in PORTS if port is None else (port,):
        try:
            http = _Server((host, number), handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            continue
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else host  # this machine's own address is a secure context, as WebGPU needs
        return Server(http, f"http://{shown}:{http.server_address[1]}/")
    raise RwkvError("port-busy", port=port if port is not None else f"{PORTS[0]}–{PORTS[-1]}", host=host, reason=reason)
