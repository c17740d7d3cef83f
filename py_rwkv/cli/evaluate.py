"""How good a model is: eval lambada, eval perplexity."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from py_rwkv.cli.base import Commands, opened
from py_rwkv.errors import RwkvError

if TYPE_CHECKING:
    from py_rwkv.runtime.evaluate import Total


def register(commands: Commands) -> None:
    both = commands.add("eval", lambda args: None, "How well a model predicts text.", model=False)
    kinds = Commands(both.add_subparsers(required=True, metavar="WHAT"))
    c = kinds.add("lambada", lambada, "Perplexity and accuracy of the last words of LAMBADA's passages.")
    c.add_argument("--file", default="lambada_test.jsonl", metavar="FILE", help='lines {"text": …}; default: lambada_test.jsonl')
    c.add_argument("--limit", type=int, metavar="N", help="only the first N passages")
    common(c)
    c = kinds.add("perplexity", perplexity, "Perplexity and bits per byte of a text file.")
    c.add_argument("file", metavar="FILE", help="a text in UTF-8")
    c.add_argument("--context", type=int, default=1024, metavar="N", help="tokens of a window, each begun with a fresh state; default 1024")
    c.add_argument("--stride", type=int, metavar="N", help="tokens of each window that count, the last ones; default: all")
    common(c)


def common(c: argparse.ArgumentParser) -> None:
    c.add_argument("--batch", type=int, default=8, metavar="N", help="passages at a time; default 8")
    c.add_argument("--start", metavar="IDS", help="tokens before every passage; default: the one that ends a document (0)")
    c.add_argument("--json", action="store_true")


def lambada(args: argparse.Namespace) -> None:
    from py_rwkv.runtime import evaluate as e

    if args.limit is not None and args.limit < 1:
        raise RwkvError("bad-setting", name="--limit", expected="at least 1", found=args.limit)

    async def run() -> None:
        text, start = read(args.file), start_tokens(args)
        engine = await opened(args, slots=batch(args))
        examples = list(e.lambada(text, engine.tokenizer, limit=args.limit, start=start))

        def seen(total: Total) -> None:
            if total.examples % 100 == 0 or total.examples == len(examples):  # the line that the RWKV-LM and Hugging Face checks print
                line = f"{total.examples} ppl {round(total.perplexity, 2)} acc {round(total.accuracy * 100, 2)}"
                print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

        began = perf_counter()
        total = await e.evaluate(engine, examples, sessions=batch(args), seen=seen)
        more = {"examples": total.examples, "perplexity": total.perplexity, "accuracy": total.accuracy}
        finish(args, engine, "lambada", more, sum(len(c) + len(t) for c, t in examples), perf_counter() - began)

    asyncio.run(run())


def perplexity(args: argparse.Namespace) -> None:
    from py_rwkv.runtime import evaluate as e

    async def run() -> None:
        data, start, stride = read(args.file), start_tokens(args), args.context if args.stride is None else args.stride
        e.check_windows(args.context, stride)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RwkvError(
                "bad-setting", name=args.file, expected="UTF-8", found=f"byte {data[error.start]:#x} at {error.start}"
            ) from None
        engine = await opened(args, slots=batch(args), max_outputs=e.ROWS)
        tokens = engine.tokenizer.encode(text)
        before = list(engine.tokenizer.stop_tokens[:1] if start is None else start)
        examples = list(e.windows(tokens, args.context, stride, before))

        def seen(total: Total) -> None:
            if not args.json and (total.examples % 10 == 0 or total.examples == len(examples)):
                print(f"{total.tokens} / {len(tokens)} tokens, ppl {total.token_perplexity:.2f}", file=sys.stderr, flush=True)

        began = perf_counter()
        total = await e.evaluate(engine, examples, sessions=batch(args), seen=seen)
        seconds = perf_counter() - began
        more = {
            "tokens": total.tokens,
            "bytes": len(data),
            "perplexity": total.token_perplexity,
            "bits_per_byte": total.bits_per_byte(len(data)),
        }
        if not args.json:
            print(f"{total.tokens} tokens, {len(data)} bytes: ppl {total.token_perplexity:.4f}, {more['bits_per_byte']:.4f} bits per byte")
        finish(args, engine, "perplexity", more, sum(len(c) + len(t) for c, t in examples), seconds)

    asyncio.run(run())


def finish(args: argparse.Namespace, engine: Any, kind: str, more: dict[str, Any], tokens: int, seconds: float) -> None:
    """One line for people, or everything as JSON."""
    speed = tokens / max(seconds, 1e-9)
    model = {"model": engine.manifest.name, "version": engine.config.version, "quant": engine.manifest.quantization}
    if args.json:
        device = {"device": engine.device.kind, "adapter": engine.device.adapter}
        print(json.dumps({"eval": kind, **model, **device, **more, "seconds": seconds, "tok_s": speed}))
    else:
        print(f"{model['model']}, {model['quant']}, {engine.device.kind}: {tokens} tokens in {seconds:.1f} s, {speed:.0f} tokens/s")


def read(path: str) -> bytes:
    from py_rwkv.checkpoint.source import FileSource

    source = FileSource(path)
    return source.read(0, source.size)


def batch(args: argparse.Namespace) -> int:
    if not 1 <= args.batch <= 128:
        raise RwkvError("bad-setting", name="--batch", expected="1 to 128", found=args.batch)
    return int(args.batch)


def start_tokens(args: argparse.Namespace) -> list[int] | None:
    if args.start is None:
        return None
    try:
        return [int(t) for t in args.start.split(",")] if args.start else []
    except ValueError:
        raise RwkvError("bad-setting", name="--start", expected="whole numbers separated by commas", found=args.start[:80]) from None
