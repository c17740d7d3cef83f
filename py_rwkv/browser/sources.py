"""Byte sources in the page."""

from __future__ import annotations

from typing import Any

from py_rwkv.checkpoint.source import check_range
from py_rwkv.errors import RwkvError


class BlobSource:
    """A `File` or `Blob`, read synchronously with FileReaderSync (workers have it); only what is asked for enters the wasm heap."""

    def __init__(self, name: str, blob: Any) -> None:
        import js

        self.name, self.size, self._blob = name, int(blob.size), blob
        self._reader = js.FileReaderSync.new()

    def read(self, offset: int, length: int) -> bytes:
        check_range(self, offset, length)
        try:
            buffer = self._reader.readAsArrayBuffer(self._blob.slice(offset, offset + length))
        except Exception as e:  # a JsException: the file changed or went away
            raise RwkvError("unreadable-file", name=self.name, reason=str(e)) from None
        return bytes(buffer.to_bytes())
