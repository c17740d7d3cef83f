"""States: what a file holds, making one from a text, and the options with which other commands start from one."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from py_rwkv.cli.base import Commands, opened
from py_rwkv.errors import RwkvError

if TYPE_CHECKING:
    from py_rwkv.checkpoint.state_file import State
    from py_rwkv.models.config import Config
    from py_rwkv.runtime.engine import Engine
    from py_rwkv.runtime.session import Session

LAYOUTS = ("official", "web-rwkv")


def register(commands: Commands) -> None:
    c = commands.add("state", show, "What a state file holds.", model=False)
    c.add_argument("file", metavar="FILE", help="a state that py-rwkv saved")
    c.add_argument("--json", action="store_true")
    c = commands.add("save-state", save, "Read a text and save the state of the model after it.")
    given = c.add_mutually_exclusive_group()
    given.add_argument("-p", "--prompt", metavar="TEXT")
    given.add_argument("--tokens", metavar="1,2,3")
    start_options(c)
    c.add_argument("--out", required=True, metavar="FILE")


def start_options(c: argparse.ArgumentParser) -> None:
    """The options that `read_start` reads."""
    c.add_argument("--state", metavar="FILE", help="start from a saved state, or from a state-tuned .pth or .st file")
    c.add_argument("--state-layout", choices=LAYOUTS, help="of a state-tuned file, where its name and precision do not tell")
    c.add_argument("--force-state", action="store_true", help="take a state that was made with other weights of the same sizes")


def read_start(args: argparse.Namespace, config: Config) -> State | None:
    """The state in `--state`; says so when its layout was guessed."""
    from py_rwkv.checkpoint.convert import open_source
    from py_rwkv.checkpoint.time_state import open_state

    if not args.state:
        return None
    state = open_state(open_source(args.state), config, args.state_layout)
    if (layout := state.notes.get("time_state", "")).endswith("(guessed)"):
        print(f"py-rwkv: {args.state} was taken for {layout.split()[0]}'s layout; if not, say --state-layout.", file=sys.stderr)
    return state


async def started(args: argparse.Namespace) -> tuple[Engine, State | None]:
    """The engine, whose sessions start from `--state`, and that state."""
    engine: Engine = await opened(args)
    state = read_start(args, engine.config)
    if state:
        engine.set_start(state, force=args.force_state)
    return engine, state


async def keep(path: str, session: Session, start: State | None, notes: Mapping[str, str]) -> None:
    """Save a session's state; its tokens come after those of the state it started from."""
    from py_rwkv.checkpoint.state_file import write_state

    state = await session.state()
    before = start.tokens if start else ()
    tokens = None if before is None or state.tokens is None else (*before, *state.tokens)
    size = write_state(path, replace(state, tokens=tokens, notes=dict(notes)))
    print(f"{path}: {size / 1e6:.1f} MB, after {len(tokens or ())} tokens", file=sys.stderr)


async def feed_rest(session: Session, text: str) -> None:
    """What was shown of a continuation and is not in the state yet: the last token, which only its successor would have brought there."""
    tokenizer = session.engine.tokenizer
    shown, seen = text.encode(), b"".join(tokenizer.token_bytes(t) for t in session.tokens)
    if shown.startswith(seen) and (rest := shown[len(seen) :].decode(errors="ignore")):
        await session.prefill(tokenizer.encode(rest))


def show(args: argparse.Namespace) -> None:
    from py_rwkv.checkpoint.convert import open_source
    from py_rwkv.checkpoint.state_file import decode_state, is_state_file

    source = open_source(args.file)
    if not is_state_file(source):
        raise RwkvError("bad-state", file=args.file, reason="py-rwkv did not write it (`save-state --state` takes state-tuned files, too)")
    state = decode_state(source)
    facts: dict[str, Any] = {"model": state.model, "model_hash": state.model_hash, **state.kind._asdict(), "notes": dict(state.notes)}
    facts["tokens"] = None if state.tokens is None else len(state.tokens)
    if args.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    print(f"{os.path.basename(args.file)}: {state.kind}")
    print(f"made with {state.model or 'an unknown model'}, weights {state.model_hash or 'unknown'}")
    print("after an unknown number of tokens" if state.tokens is None else f"after {len(state.tokens)} tokens")
    for key, note in state.notes.items():
        print(f"{key}: {note[:200]}")


def save(args: argparse.Namespace) -> None:
    async def run() -> None:
        engine, start = await started(args)
        session = engine.session()
        tokens = engine.tokenizer.encode(args.prompt) if args.prompt else token_ids(args.tokens or "")
        if tokens:
            await session.feed(tokens, "none")
        elif not start:
            raise RwkvError("empty-prompt")
        await keep(args.out, session, start, {})

    asyncio.run(run())


def token_ids(text: str) -> Sequence[int]:
    try:
        return [int(t) for t in text.split(",")] if text else []
    except ValueError:
        raise RwkvError("bad-setting", name="--tokens", expected="whole numbers separated by commas", found=text[:80]) from None
