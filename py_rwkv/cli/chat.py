"""Talking with a model: generate, chat."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from py_rwkv.cli.base import Commands, opened
from py_rwkv.errors import RwkvError


def register(commands: Commands) -> None:
    c = commands.add("generate", generate, "Continue a text.")
    c.add_argument("-p", "--prompt", required=True, metavar="TEXT")
    sampling(c)
    c = commands.add("chat", chat, "Talk with a model. /new starts afresh, /quit ends.")
    c.add_argument("--system", metavar="TEXT")
    c.add_argument("-p", "--prompt", metavar="TEXT", help="ask once and exit")
    sampling(c)


def sampling(c: argparse.ArgumentParser) -> None:
    c.add_argument("-n", "--max-tokens", type=int, metavar="N")
    c.add_argument("--temperature", type=float, metavar="T")
    c.add_argument("--top-p", type=float, metavar="P")
    c.add_argument("--top-k", type=int, metavar="K")
    c.add_argument("--seed", type=int, metavar="S")
    c.add_argument("--stop", action="append", metavar="TEXT", help="may be repeated")
    c.add_argument("--stats", action="store_true", help="print speeds at the end")


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
        service = ChatService(await opened(args), 1)
        print(args.prompt, end="", flush=True)
        await printed(service.stream({"prompt": args.prompt, **settings(args)}), args.stats)

    asyncio.run(run())


def chat(args: argparse.Namespace) -> None:
    from py_rwkv.chat.service import ChatService

    async def run() -> None:
        service = ChatService(await opened(args), 1)
        start = [{"role": "system", "content": args.system}] if args.system else []
        messages = list(start)
        while True:
            text = args.prompt or read_line()
            if text is None or text == "/quit":
                return
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
                return

    asyncio.run(run())


def read_line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None
