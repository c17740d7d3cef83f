"""A server on another port that takes its time, breaks off when told to, and remembers what was asked of it: a network as it is."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 4096


@dataclass
class Slow:
    """files: path → content. pause: seconds per chunk of 4 KiB. broken: paths whose next answer ends in the middle. asked: (path, range, bytes that were sent)."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    pause: float = 0.0
    broken: set[str] = field(default_factory=set)
    asked: list[list[str | int]] = field(default_factory=list)

    def paths(self, ending: str = ".safetensors") -> list[str]:
        return [str(path) for path, *_ in self.asked if str(path).endswith(ending)]


@contextmanager
def slow_server() -> Iterator[Slow]:
    slow = Slow()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_OPTIONS(self) -> None:
            self.answer(204, b"")

        def do_GET(self) -> None:
            path = self.path.lstrip("/").split("?")[0]
            data = slow.files.get(path)
            if data is None:
                return self.answer(404, b"")
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(wanted[1]) if wanted else 0
            part = data[first : int(wanted[2]) + 1 if wanted and wanted[2] else None]
            entry: list[str | int] = [path, self.headers.get("Range", ""), 0]
            slow.asked.append(entry)
            self.answer(206 if wanted else 200, part, entry, f"bytes {first}-{first + len(part) - 1}/{len(data)}" if wanted else "", path)

        def answer(self, status: int, data: bytes, entry: list[str | int] | None = None, spans: str = "", path: str = "") -> None:
            self.send_response(status)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Access-Control-Expose-Headers", "Content-Range")
            if spans:
                self.send_header("Content-Range", spans)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            breaks = path in slow.broken
            slow.broken.discard(path)
            for at in range(0, len(data), CHUNK):
                if breaks and at >= len(data) // 2:
                    self.close_connection = True
                    self.connection.shutdown(2)
                    return
                self.wfile.write(data[at : at + CHUNK])
                self.wfile.flush()
                if entry is not None:
                    entry[2] = at + CHUNK
                time.sleep(slow.pause)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a page that goes away in the middle

    server = Server(("127.0.0.1", 0), Handler)
    slow.url = f"http://127.0.0.1:{server.server_address[1]}/"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    try:
        yield slow
    finally:
        server.shutdown()
        server.server_close()
