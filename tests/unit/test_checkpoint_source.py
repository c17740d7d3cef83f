"""Byte sources: exact reads or a code, from memory, files and web servers with and without ranges."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from make_pth import save

from py_rwkv.checkpoint.checkpoint import open_checkpoint
from py_rwkv.checkpoint.source import ByteSource, BytesSource, FileSource, HttpSource, ReadAhead
from py_rwkv.errors import RwkvError

X = np.arange(5000, dtype="<f4").reshape(50, 100)
DATA = save({"x": X, "y": X.T.copy()})


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        first, last = (int(n) for n in self.headers["Range"].removeprefix("bytes=").split("-"))
        body, headers, status = DATA[first : last + 1], {}, 206
        headers["Content-Range"] = f"bytes {first}-{last}/{len(DATA)}"
        if "plain" in self.path:
            body, headers, status = DATA, {}, 200
        if "missing" in self.path:
            body, headers, status = b"", {}, 404
        if "lying" in self.path:
            headers["Content-Range"] = "bytes 5-6/7"
        if "changing" in self.path and first:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(DATA) + 1}"
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-1] if "short" in self.path and len(body) > 1 else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def sources(tmp_path: Path, server: str) -> list[ByteSource]:
    (tmp_path / "m.pth").write_bytes(DATA)
    return [
        BytesSource("m.pth", DATA),
        FileSource(tmp_path / "m.pth"),
        HttpSource(f"{server}/a/m.pth?download=1"),
        HttpSource(f"{server}/plain/m.pth"),
        ReadAhead(FileSource(tmp_path / "m.pth"), 1000),
    ]


def test_every_source_reads_the_same(tmp_path: Path, server: str) -> None:
    for source in sources(tmp_path, server):
        assert (source.name, source.size) == ("m.pth", len(DATA))
        for offset, length in ((0, 0), (0, 1), (17, 4000), (18, 10), (len(DATA) - 3, 3), (len(DATA), 0), (5, 900), (400, 600)):
            assert source.read(offset, length) == DATA[offset : offset + length]
        for offset, length in ((0, len(DATA) + 1), (len(DATA), 1), (-1, 2), (3, -1)):
            with pytest.raises(RwkvError) as e:
                source.read(offset, length)
            assert e.value.code == "truncated-file"
        assert np.array_equal(open_checkpoint(source).f32("y"), X.T)


def test_reading_ahead_saves_requests(server: str) -> None:
    Handler.requests = 0
    c = open_checkpoint(ReadAhead(HttpSource(f"{server}/m.pth")))
    assert np.array_equal(c.f32("x"), X) and np.array_equal(c.f32("y"), X.T)
    assert Handler.requests <= 4


@pytest.mark.parametrize("path", ["missing", "lying", "changing", "short", "plain/short"])
def test_servers_that_fail(server: str, path: str) -> None:
    with pytest.raises(RwkvError) as e:
        HttpSource(f"{server}/{path}").read(100, 50)
    assert e.value.code == "fetch-failed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "nonsense", "http://[bad/x"])
def test_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(RwkvError) as e:
        HttpSource(url)
    assert e.value.code == "fetch-failed"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, expected in ((tmp_path / "none", "file-not-found"), (tmp_path, "unreadable-file")):
        with pytest.raises(RwkvError) as e:
            FileSource(path)
        assert e.value.code == expected


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(bytes(100))
    source = FileSource(path)
    path.write_bytes(bytes(10))
    with pytest.raises(RwkvError) as e:
        source.read(0, 50)
    assert e.value.code == "truncated-file"
    path.unlink()
    with pytest.raises(RwkvError) as e:
        source.read(0, 50)
    assert e.value.code == "unreadable-file"
