"""A person's scripts in the page: `Script` (runtime/script.py) for web/engine/hooks.js, JSON in and out."""

from __future__ import annotations

import json

from py_rwkv.browser.service import crossing
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback
from py_rwkv.runtime.script import Script


def begin(text: str, name: str) -> Script:
    """What a script registers for a model that is about to be loaded. RwkvError `script-failed`."""
    script = Script()
    run(script, text, name)
    return script


def run(script: Script, text: str, name: str) -> str:
    """Run another one, too; what is registered now, as JSON."""
    try:
        return json.dumps(script.run(text, name))
    except RwkvError as e:
        crossing(e)


async def call(script: Script, name: str, argument: str) -> str:
    """A registered function, with JSON and for JSON. RwkvErrors `unknown-script-name`, `script-failed`; `bad-hook-value` for a result that is no JSON."""
    try:
        result = await script.call(name, json.loads(argument))
        try:
            return json.dumps(result, allow_nan=False)
        except (TypeError, ValueError) as e:
            shown = f"{repr(result)[:80]} ({e})"
            raise RwkvError("bad-hook-value", point=f"function {name}", expected="a value that JSON can hold", found=shown) from None
    except RwkvError as e:
        crossing(e)


def wants_numpy(script: Script) -> bool:
    """Functions at values of the model get arrays."""
    return any(isinstance(hook, Callback) for hook in script.hooks)
