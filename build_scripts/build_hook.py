"""The wheel's build hook: packs the World vocabulary into the package and takes `shaders/` and `web/` along.

An editable install only gets the vocabulary: `py_rwkv/resources.py` finds the two folders beside the package.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from py_rwkv.site import vocabulary
        finally:
            sys.path.remove(str(root))
        vocabulary.ensure(self.app.display_info, refresh=True)
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"] |= {str(root / name): f"py_rwkv/{name}" for name in ("shaders", "web")}
