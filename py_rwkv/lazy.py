"""Modules imported on first use: the chat path in the page must start without numpy, and without what only some requests need."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from py_rwkv import structured
else:

    class _Lazy(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module(self.__name__), name)

    np = _Lazy("numpy")
    structured = _Lazy("py_rwkv.structured")

__all__ = ["np", "structured"]
