"""Where bytes come from: one small synchronous interface, and its native implementations. Knows no file format.

The page implements the same Protocol over a dropped `File` and over HTTP; everything above it reads tensor by tensor, never a whole file.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Protocol

from py_rwkv.errors import RwkvError

if TYPE_CHECKING:
    from http.client import HTTPResponse

CHUNK = 1 << 20


class ByteSource(Protocol):
    """A named sequence of `size` bytes that can be read anywhere."""

    name: str
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; RwkvError (`truncated-file`, `unreadable-file`, `fetch-failed`) if that is not possible."""
        ...


def check_range(source: ByteSource, offset: int, length: int) -> None:
    """Refuse a read that is not inside the source (`truncated-file`)."""
    if offset < 0 or length < 0 or offset + length > source.size:
        raise RwkvError("truncated-file", name=source.name, expected=offset + length, found=source.size)


class BytesSource:
    """Bytes already in memory."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.size, self._data = name, len(data), data

    def read(self, offset: int, length: int) -> bytes:
        check_range(self, offset, length)
        return self._data[offset : offset + length]


class FileSource:
    """A local file, opened anew for every read: nothing to close, nothing to leak, and 10 µs are nothing beside a tensor."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.name = os.fspath(path), os.path.basename(os.fspath(path))
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise RwkvError("file-not-found", name=os.fspath(path)) from None
        except OSError as e:
            raise RwkvError("unreadable-file", name=os.fspath(path), reason=e.strerror or str(e)) from e

    def read(self, offset: int, length: int) -> bytes:
        check_range(self, offset, length)
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                data = file.read(length)
        except OSError as e:
            raise RwkvError("unreadable-file", name=self.name, reason=e.strerror or str(e)) from e
        if len(data) != length:  # the file shrank after it was opened
            raise RwkvError("truncated-file", name=self.name, expected=offset + length, found=offset + len(data))
        return data


class HttpSource:
    """A file on a web server, by range requests; a server without ranges is read once into a temporary file."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        self.url, self.timeout = url, timeout
        self.name = url.split("?")[0].rstrip("/").rsplit("/", 1)[-1] or url
        self._copy: IO[bytes] | None = None
        with self._open(0, 1) as response:
            if response.status == 206:
                self.size = self._total(response, 0)
            else:
                self.size = self._download(response)

    def read(self, offset: int, length: int) -> bytes:
        check_range(self, offset, length)
        if length == 0:
            return b""
        if self._copy:
            self._copy.seek(offset)
            return self._copy.read(length)
        from http.client import HTTPException

        with self._open(offset, length) as response:
            if response.status != 206 or self._total(response, offset) != self.size:
                raise RwkvError("fetch-failed", name=self.url, reason="the file changed on the server while it was read")
            try:
                data = response.read(length)
            except (OSError, HTTPException) as e:
                raise RwkvError("fetch-failed", name=self.url, reason=str(e)) from e
        if len(data) != length:
            raise RwkvError("fetch-failed", name=self.url, reason=f"{len(data)} of {length} bytes arrived")
        return data

    def _open(self, offset: int, length: int) -> HTTPResponse:
        from http.client import HTTPException
        from urllib.request import Request, urlopen

        try:
            request = Request(self.url, headers={"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"})
            response: HTTPResponse = urlopen(request, timeout=self.timeout)
        except (OSError, ValueError, HTTPException) as e:  # URLError and HTTPError are OSErrors; ValueError: not a URL
            getattr(e, "close", lambda: None)()  # an HTTPError holds the connection
            raise RwkvError("fetch-failed", name=self.url, reason=str(e)) from e
        return response

    def _total(self, response: HTTPResponse, offset: int) -> int:
        span, _, total = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("/")
        if not total.isdecimal() or span.split("-")[0] != str(offset):
            raise RwkvError("fetch-failed", name=self.url, reason="the server's Content-Range is wrong")
        return int(total)

    def _download(self, response: HTTPResponse) -> int:
        import shutil
        import tempfile
        import weakref

        self._copy = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._copy.close)
        try:
            shutil.copyfileobj(response, self._copy, CHUNK)
        except (OSError, ValueError) as e:
            raise RwkvError("fetch-failed", name=self.url, reason=str(e)) from e
        size, promised = self._copy.tell(), response.headers.get("Content-Length") or ""
        if promised.isdecimal() and int(promised) != size:
            raise RwkvError("fetch-failed", name=self.url, reason=f"{size} of {promised} bytes arrived")
        return size


class ReadAhead:
    """Turns many small reads of a slow source into few larger ones: headers and vectors come along with their neighbours."""

    def __init__(self, source: ByteSource, block: int = CHUNK) -> None:
        self.name, self.size, self._source, self._block = source.name, source.size, source, block
        self._start, self._data = 0, b""

    def read(self, offset: int, length: int) -> bytes:
        check_range(self, offset, length)
        if length >= self._block:
            return self._source.read(offset, length)
        if not self._start <= offset <= offset + length <= self._start + len(self._data):
            self._start, self._data = offset, self._source.read(offset, min(self._block, self.size - offset))
        return self._data[offset - self._start : offset - self._start + length]
