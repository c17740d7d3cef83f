"""Byte sources in the page, and the model that some of them make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.index import open_folder
from py_rwkv.checkpoint.source import check_range
from py_rwkv.devices.browser_device import from_js


class PageSource:
    """A ByteSource of web/engine/sources.js: a file or an address. Only what is asked for enters the wasm heap."""

    def __init__(self, source: Any) -> None:
        self.name, self.size, self._source = str(source.name), int(source.size), source

    def read(self, offset: int, length: int) -> bytes:
        from pyodide.ffi import JsException

        check_range(self, offset, length)
        try:
            return bytes(self._source.read(offset, length).to_bytes())
        except JsException as e:
            raise from_js(e) from None


def open_files(name: str, sources: Iterable[PageSource]) -> Checkpoint:
    """One file, or those of a folder (then `name` is the folder's)."""
    files = {source.name: source for source in sources}
    if len(files) == 1 and not next(iter(files)).endswith(".json"):
        return open_checkpoint(next(iter(files.values())))
    return open_folder(name or next(iter(files)), files, files.__getitem__)
