"""A person's Python file: what it registers through the name `rwkv`, and how it says what is wrong with it. The same natively and in the page (docs/hooks.md).

It is ordinary Python with all the rights of the process (in the page: of the worker) that runs it. Nothing here confines it.
"""

from __future__ import annotations

import asyncio
import functools
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import iscoroutinefunction
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback, Hook, Insert
from py_rwkv.runtime.processing import Processing, Processor, TokenSampler

if TYPE_CHECKING:
    from py_rwkv.runtime.engine import Engine

F = TypeVar("F", bound=Callable[..., Any])
MODULE = "rwkv_script"  # the name under which a script is a module, for dataclasses and the like
FRAMES = 3  # of a traceback, in a message
OURS = "default"  # the sampler that is not a script's


class Script:
    """What scripts have registered: `rwkv` in their files."""

    def __init__(self) -> None:
        self.engine: Engine | None = None  # once the model is loaded
        self.hooks: list[Hook] = []
        self.processors: dict[str, Processor] = {}
        self.samplers: dict[str, TokenSampler] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self._file = ""

    def hook(self, hook: Hook) -> None:
        """Insert kernels, or call a function, at named values of the model. Only in a script that is given when the model is loaded."""
        if not isinstance(hook, Insert | Callback):
            raise TypeError(f"rwkv.hook takes an Insert or a Callback, not {hook!r}")
        if self.engine is not None:
            raise RwkvError("hook-too-late", pattern=hook.pattern)
        guarded = self._guard(hook.run, f"the hook at {hook.pattern}")
        self.hooks.append(replace(hook, run=guarded))

    def processor(self, run: F) -> F:
        """Decorator: `run(scores, text)` changes the scores {token: logit} of every token's candidates in place, or returns others."""
        self.processors[run.__name__] = self._guard(run, f"processor {run.__name__}")
        return run

    def sampler(self, run: F) -> F:
        """Decorator: `run(scores, text)` returns the next token, one of those that have a score."""
        if run.__name__ == OURS:
            raise ValueError(f"a sampler cannot be named {OURS}")
        self.samplers[run.__name__] = self._guard(run, f"sampler {run.__name__}")
        return run

    def function(self, run: F) -> F:
        """Decorator: `run(argument)` can be called from outside, with JSON and for JSON; may be a coroutine function."""
        self.functions[run.__name__] = self._guard(run, f"function {run.__name__}")
        return run

    def run(self, text: str, name: str = "script.py") -> dict[str, Any]:
        """Execute a file; what has been registered so far. RwkvError `script-failed` with the last lines of the traceback: nothing of this file counts then."""
        before = self._registered()
        module = ModuleType(MODULE)
        module.__dict__.update(rwkv=self, __file__=name)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        earlier, sys.modules[MODULE], self._file = sys.modules.get(MODULE), module, name
        try:
            exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
        except (Exception, SystemExit) as error:
            self.hooks, self.processors, self.samplers, self.functions = before
            if earlier:
                sys.modules[MODULE] = earlier
            raise _failed(error, name, name) from None
        return self.names()

    def names(self) -> dict[str, Any]:
        """What there is: {hooks: how many, processors, samplers, functions: their names}."""
        return {
            "hooks": len(self.hooks),
            "processors": list(self.processors),
            "samplers": list(self.samplers),
            "functions": list(self.functions),
        }

    def processing(self, processors: Sequence[str] | None, sampler: str) -> Processing:
        """What an answer goes through: the named processors in this order (None: all of them), and the named sampler ("": the latest, if there is one).

        RwkvError `unknown-script-name`.
        """
        chosen = {name: _known(self.processors, "processor", name) for name in (self.processors if processors is None else processors)}
        if sampler == OURS or not (self.samplers or sampler):
            return Processing(chosen)
        name = sampler or list(self.samplers)[-1]
        return Processing(chosen, (name, _known(self.samplers, "sampler", name)))

    async def call(self, name: str, argument: Any = None) -> Any:
        """A registered function. RwkvErrors `unknown-script-name`, `script-failed`."""
        found = _known(self.functions, "function", name)(argument)
        return await found if asyncio.iscoroutine(found) or asyncio.isfuture(found) else found

    def _registered(self) -> tuple[list[Hook], dict[str, Processor], dict[str, TokenSampler], dict[str, Callable[..., Any]]]:
        return list(self.hooks), dict(self.processors), dict(self.samplers), dict(self.functions)

    def _guard(self, run: Callable[..., Any], what: str) -> Callable[..., Any]:
        """The function, with its errors told as `script-failed`."""
        file = self._file
        if iscoroutinefunction(run):

            @functools.wraps(run)
            async def later(*arguments: Any) -> Any:
                try:
                    return await run(*arguments)
                except (Exception, SystemExit) as error:
                    raise _failed(error, file, what) from error

            return later

        @functools.wraps(run)
        def now(*arguments: Any) -> Any:
            try:
                return run(*arguments)
            except (Exception, SystemExit) as error:
                raise _failed(error, file, what) from error

        return now


def _known(table: Mapping[str, Any], kind: str, name: str) -> Any:
    if name not in table:
        raise RwkvError("unknown-script-name", kind=kind, name=str(name)[:80], known=", ".join(table) or "none")
    return table[name]


def _failed(error: BaseException, file: str, what: str) -> RwkvError:
    """`script-failed` with what a traceback says of the script's own lines; errors of ours say it themselves."""
    if isinstance(error, RwkvError):
        return error
    told = traceback.TracebackException.from_exception(error, compact=True)
    own = [frame for frame in told.stack if frame.filename == file][-FRAMES:]
    told.stack = traceback.StackSummary.from_list(own)
    told.__cause__ = told.__context__ = None
    lines = [line for line in "".join(told.format()).splitlines() if line and not line.startswith("Traceback")]
    return RwkvError("script-failed", what=what, reason="\n".join(lines)[-2000:])
