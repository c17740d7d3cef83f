"""One error type and one table of codes for Python, the worker and the page.

The texts live in `errors.json` (`{code: {"en": [message, hint], "zh": [message, hint]}}`, `str.format` fields filled from the details), so that the page can
show the same error in the reader's language: it receives the code and the details.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def texts() -> dict[str, dict[str, list[str]]]:
    """The table of `errors.json`."""
    table: dict[str, dict[str, list[str]]] = json.loads((Path(__file__).parent / "errors.json").read_text("utf-8"))
    return table


class RwkvError(Exception):
    """Something went wrong that a person can understand.

    code: a key of `errors.json`; message, hint: English text; details: the values that fill the texts (JSON-able).
    """

    def __init__(self, code: str, **details: Any) -> None:
        message, hint = texts()[code]["en"]
        self.code = code
        self.details = details
        self.message = message.format_map(details)
        self.hint = hint.format_map(details)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip() + f" [{self.code}]"

    def to_dict(self) -> dict[str, Any]:
        """The form in which an error crosses to JavaScript."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}
