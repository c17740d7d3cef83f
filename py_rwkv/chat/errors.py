"""Errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}` and the HTTP status that belongs to each."""

from __future__ import annotations

from typing import Any

from py_rwkv.errors import RwkvError

BAD = (400, "invalid_request_error")
STATUS: dict[str, tuple[int, str]] = {
    **dict.fromkeys("bad-setting unknown-setting unknown-template unknown-state empty-prompt prompt-too-long bad-token".split(), BAD),
    **dict.fromkeys("bad-schema bad-regex cannot-encode no-candidates bad-json unknown-tokenizer".split(), BAD),
    "refused-origin": (403, "permission_error"),
    "unknown-model": (404, "invalid_request_error"),
    "unknown-endpoint": (404, "invalid_request_error"),
    "wrong-method": (405, "invalid_request_error"),
    "too-long": (413, "invalid_request_error"),
    "not-json": (415, "invalid_request_error"),
    "cancelled": (499, "cancelled"),  # nobody is there to read it
    **dict.fromkeys("not-loaded closed device-lost worker-crashed tab-closed".split(), (503, "server_error")),
}
CODES = {  # where the standard has a word of its own; otherwise it is ours
    "unknown-model": "model_not_found",
    "unknown-setting": "unknown_parameter",
    "prompt-too-long": "context_length_exceeded",
    "bad-setting": "invalid_value",
}


def error_object(error: RwkvError) -> tuple[int, dict[str, Any]]:
    """(HTTP status, the object that says what is wrong). param: the field of the request, where it is one's fault."""
    status, kind = STATUS.get(error.code, (500, "server_error"))
    param = error.details.get("param")
    if param is None and error.code in ("bad-setting", "unknown-setting"):
        param = error.details["name"]
    param = {"prompt-too-long": "messages", "unknown-template": "template", "unknown-state": "state", "unknown-model": "model"}.get(
        error.code, param
    )
    message = f"{error.message} {error.hint}".strip()
    return status, {"error": {"message": message, "type": kind, "param": param, "code": CODES.get(error.code, error.code)}}
