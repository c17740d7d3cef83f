"""Talking with a model: generate, chat."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from py_rwkv.cli.base import Commands, opened
from py_rwkv.cli.state import feed_rest, keep, read_start, start_options, started
from py_rwkv.errors import RwkvError

if TYPE_CHECKING:
    from py_rwkv.checkpoint.state_file import State
    from py_rwkv.runtime.engine import Engine

MESSAGES = "messages"  # the note of a state file that holds a conversation


def register(commands: Commands) -> None:
    c = commands.add("generate", generate, "Continue a text.")
    c.add_argument("-p", "--prompt", required=True, metavar="TEXT")
    sampling(c)
    states(c)
    c = commands.add("chat", chat, "Talk with a model. /new starts afresh, /quit ends.")
    c.add_argument("--system", metavar="TEXT")
    c.add_argument("-p", "--prompt", metavar="TEXT", help="ask once and exit")
    sampling(c)
    states(c)


def sampling(c: argparse.ArgumentParser) -> None:
    c.add_argument("-n", "--max-tokens", type=int, metavar="N")
    c.add_argument("--temperature", type=float, metavar="T")
    c.add_argument("--top-p", type=float, metavar="P")
    c.add_argument("--top-k", type=int, metavar="K")
    c.add_argument("--seed", type=int, metavar="S")
    c.add_argument("--stop", action="append", metavar="TEXT", help="may be repeated")
    c.add_argument("--stats", action="store_true", help="print speeds at the end")


def states(c: argparse.ArgumentParser) -> None:
    start_options(c)
    c.add_argument("--save-state", metavar="FILE", help="save the state at the end, to go on from it with --state")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    names = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stop")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None} | {"stream": True}


async def printed(chunks: AsyncIterator[dict[str, Any]], stats: bool) -> str:
    """Show an answer as it comes; returns it."""
    text, last = "", {}
    async for last in chunks:
        choice = last["choices"][0]
        piece = choice["delta"].get("content", "") if "delta" in choice else choice["text"]
        text += piece
        print(piece, end="", flush=True)
    print()
    if stats:
        usage, t = last["usage"], last["timings"]
        print(
            f"[{usage['prompt_tokens']} prompt tokens at {t['prefill_tokens_per_second']:.1f}/s, "
            f"{usage['completion_tokens']} generated at {t['decode_tokens_per_second']:.1f}/s, seed {last['seed']}]",
            file=sys.stderr,
        )
    return text


def generate(args: argparse.Namespace) -> None:
    from py_rwkv.chat.service import ChatService

    async def run() -> None:
        engine, state = await started(args)
        service = ChatService(engine, 1)
        print(args.prompt, end="", flush=True)
        text = await printed(service.stream({"prompt": args.prompt, **settings(args)}), args.stats)
        if args.save_state:
            [session] = service.sessions
            await feed_rest(session, args.prompt + text)
            await keep(args.save_state, session, state, {})

    asyncio.run(run())


def chat(args: argparse.Namespace) -> None:
    from py_rwkv.chat.service import ChatService

    async def run() -> None:
        engine: Engine = await opened(args)
        state = read_start(args, engine.config)
        messages = list(start := [{"role": "system", "content": args.system}] if args.system else [])
        earlier = conversation(state) if state else []
        if state and not earlier:
            engine.set_start(state, force=args.force_state)
        service = ChatService(engine, 1)
        [session] = service.sessions
        if state and earlier:  # a conversation goes on; where it cannot (edited, another template) the messages are read again
            session.set_state(state, force=args.force_state)
            messages = earlier
        while True:
            text = args.prompt or read_line()
            if text is None or text == "/quit":
                break
            if text == "/new":
                messages = list(start)
            elif text:
                messages.append({"role": "user", "content": text})
                try:
                    answer = await printed(service.stream({"messages": messages, **settings(args)}), args.stats)
                except RwkvError as e:
                    messages.pop()
                    if args.prompt:
                        raise
                    print(f"{e.message} {e.hint}", file=sys.stderr)
                else:
                    messages.append({"role": "assistant", "content": answer})
            if args.prompt:
                break
        if args.save_state:
            await keep(args.save_state, session, None if earlier else state, {MESSAGES: json.dumps(messages, ensure_ascii=False)})

    asyncio.run(run())


def conversation(state: State) -> list[dict[str, Any]]:
    """The messages a state was saved with; none for other states."""
    try:
        messages = json.loads(state.notes.get(MESSAGES, "[]"))
    except (ValueError, RecursionError):
        messages = None
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise RwkvError("bad-state", file=state.source, reason="its note `messages` is no conversation")
    return messages


def read_line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None
