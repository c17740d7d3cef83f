"""The page's engine for synchronous Python tests: requests in, values out, errors as RwkvError. Knows a Playwright page, no fixtures."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from py_rwkv.errors import RwkvError, texts

if TYPE_CHECKING:
    from playwright.sync_api import Page

DETERMINISTIC: dict[str, Any] = {"temperature": 0, "seed": 0}  # of every request that does not say otherwise
# A call of a method of window.rwkv. Playwright itself waits for ever, so the page gives up in time; f32 arrays cross as text, a hundred times faster than as numbers.
CALL = """async ({ name, args, ms }) => {
    const path = name.split(".");
    const method = path.pop();
    const owner = path.reduce((object, key) => object[key], window.rwkv);
    let timer;
    const late = new Promise((resolve) => void (timer = setTimeout(() => resolve({ late: true }), ms)));
    const work = async () => {
        try {
            const value = await owner[method](...args);
            if (!(value instanceof Float32Array)) return { value };
            const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
            let text = "";
            for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
            return { floats: btoa(text) };
        } catch (error) {
            return { error: { code: error.code, details: error.details, message: String(error.message ?? error) } };
        }
    };
    try {
        return await Promise.race([work(), late]);
    } finally {
        clearTimeout(timer);
    }
}"""


class RwkvPage:
    """A page whose `window.rwkv` is a ready engine (web/engine/client.js).

    page: Playwright's, to do anything with. timeout: seconds that a call may take, then TimeoutError. An error of the engine is an RwkvError with its code.
    """

    def __init__(self, page: Page, timeout: float = 300) -> None:
        self.page, self.timeout = page, timeout

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **settings: Any) -> str:
        """The answer to one question, or to a conversation: `chat("Hello")`, `chat([{"role": "user", "content": "Hello"}], max_tokens=20)`.

        settings: fields of a request. Greedy and with seed 0, unless they say otherwise: the same text every time.
        """
        given = [{"role": "user", "content": messages}] if isinstance(messages, str) else [dict(message) for message in messages]
        answer = self.create(messages=given, **settings)
        return str(answer["choices"][0]["message"]["content"])

    def complete(self, prompt: str, **settings: Any) -> str:
        """How the model goes on after a raw text, with settings as in `chat`."""
        return str(self.create(prompt=prompt, **settings)["choices"][0]["text"])

    def create(self, **request: Any) -> dict[str, Any]:
        """A whole completion in OpenAI's shape, of a request with `messages` or `prompt`: usage, finish_reason, logprobs, … Settings as in `chat`."""
        kind = "completions" if "prompt" in request else "chat.completions"
        answer: dict[str, Any] = self.call(f"{kind}.create", DETERMINISTIC | request)
        return answer

    def logits(self, tokens: Sequence[int]) -> Sequence[float]:
        """f32 [V]: the logits after these tokens, from a zero state; an `array`, of which numpy makes an array without copying."""
        values: array[float] = self.call("logits", list(tokens))
        return values

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, by the model's tokenizer."""
        ids: list[int] = self.call("tokenize", text)
        return ids

    def info(self) -> dict[str, Any]:
        """What `engine.info()` says: model, device, memory in bytes, cost of a token."""
        facts: dict[str, Any] = self.call("info")
        return facts

    def call(self, name: str, *args: Any) -> Any:
        """Any other method of the engine: `call("render", {"messages": …})`. Arguments and result are JSON; a Float32Array comes as `array("f")`."""
        found = self.page.evaluate(CALL, {"name": name, "args": args, "ms": self.timeout * 1e3})
        if "late" in found:
            raise TimeoutError(f"rwkv.{name} took longer than {self.timeout:g} s.")
        if "error" in found:
            raise _error(found["error"])
        if "floats" in found:
            return array("f", base64.b64decode(found["floats"]))
        return found.get("value")

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Playwright's `page.evaluate`: JavaScript in the page, where `rwkv` is the engine. It has no timeout."""
        return self.page.evaluate(script, argument)


def _error(told: Mapping[str, Any]) -> RwkvError:
    code, details = told.get("code"), told.get("details") or {}
    if code in texts():
        try:
            return RwkvError(str(code), **details)
        except KeyError:
            pass  # a detail is missing that its text wants
    return RwkvError("internal", reason=told.get("message", ""))
