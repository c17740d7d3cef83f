"""Another site than the one that hosts the engine: pages on an origin of their own, under a policy of their own."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from types import TracebackType


class _Handler(http.server.SimpleHTTPRequestHandler):
    policies: dict[str, str]

    def end_headers(self) -> None:
        if policy := self.policies.get(self.path.lstrip("/")):
            self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Elsewhere:
    """Serves `folder` as http://localhost:PORT, which is another site than http://127.0.0.1, and a secure context, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policies: dict[str, str] = {}
        handler = type("Handler", (_Handler,), {"policies": self.policies})
        self._http = http.server.ThreadingHTTPServer(("localhost", 0), functools.partial(handler, directory=str(folder)))
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self.origin = f"http://localhost:{self._http.server_port}"

    def page(self, name: str, script: str = "", body: str = "", policy: str = "") -> str:
        """A page with a module of its own; its address."""
        head = '<!doctype html><html lang="en"><title>Elsewhere</title><link rel="icon" href="data:,">'
        (self.folder / f"{name}.js").write_text(script, "utf-8")
        (self.folder / f"{name}.html").write_text(f'{head}{body}<script type="module" src="{name}.js"></script></html>', "utf-8")
        if policy:
            self.policies[f"{name}.html"] = policy
        return f"{self.origin}/{name}.html"

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
