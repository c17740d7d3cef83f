"""The command line: arguments in, text out. Everything it does is one call away in the package."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from py_rwkv import __version__
from py_rwkv.errors import RwkvError
from py_rwkv.native import DEVICES

MODEL = "a model directory, a checkpoint (.pth, .safetensors, .st, .gguf; path or URL), or `demo`"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it worked, 1 for an RwkvError, 130 when interrupted."""
    args = parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], None] = args.run
        run(args)
        return 0
    except RwkvError as e:
        print(f"py-rwkv: {e.message}\n{e.hint}".rstrip() + f"  [{e.code}]", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("py-rwkv", description="RWKV language models, natively and in a web page.")
    p.add_argument("--version", action="version", version=f"py-rwkv {__version__}")
    commands = p.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str, *, model: bool = True) -> argparse.ArgumentParser:
        c = commands.add_parser(name, help=text, description=text)
        c.set_defaults(run=run)
        if model:
            c.add_argument("model", metavar="MODEL", help=MODEL)
            c.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU if there is one, else numpy")
            c.add_argument("--quant", metavar="STRATEGY", help="for a checkpoint: f32, f16, int8, …; default: the precision of the file")
        return c

    c = command("info", info, "What a model is, and what running it costs.")
    c.add_argument("--program", action="store_true", help="print the kernel calls of one token")
    c.add_argument("--json", action="store_true")
    c = command("generate", generate, "Continue a text.")
    c.add_argument("-p", "--prompt", required=True, metavar="TEXT")
    sampling(c)
    c = command("chat", chat, "Talk with a model. /new starts afresh, /quit ends.")
    c.add_argument("--system", metavar="TEXT")
    c.add_argument("-p", "--prompt", metavar="TEXT", help="ask once and exit")
    sampling(c)
    c = command("logits", logits, "Logits after some tokens, as a .npy file.")
    c.add_argument("--tokens", required=True, metavar="1,2,3")
    c.add_argument("--every", action="store_true", help="after every token: [T, V] instead of [V]")
    c.add_argument("--out", required=True, metavar="FILE.npy")
    c = command("convert", convert, "A checkpoint to a model directory for the page.", model=False)
    c.add_argument("source", metavar="SRC", help="a .pth, .safetensors, .st or .gguf file, its URL, or a Hugging Face folder")
    c.add_argument("target", metavar="DST", help="the directory to write")
    c.add_argument("--quant", default="int8", metavar="STRATEGY", help="f32, f16 or int8 (default), with exceptions: `int8, head=f16`")
    c.add_argument("--name", help="the model's name; default: that of the file")
    c.add_argument("--lora", action="append", default=[], metavar="FILE:ALPHA", help="merge a LoRA file first; may be repeated")
    c.add_argument("--group-norm-eps", type=float, metavar="E", help="default 64e-5; rwkv.cpp's V5 files want 1e-5")
    c.add_argument("--template", default="world", help="prompt template: world, g1, raven, plain")
    c = command("serve", serve, "Serve the page on this machine.", model=False)
    c.add_argument("--port", type=int, help="default: the first free one from 8000")
    c.add_argument("--host", default="127.0.0.1")
    c = command("build", build, "Write the static site, which any file server can serve below any path.", model=False)
    c.add_argument("outdir", metavar="OUTDIR")
    return p


def sampling(c: argparse.ArgumentParser) -> None:
    c.add_argument("-n", "--max-tokens", type=int, metavar="N")
    c.add_argument("--temperature", type=float, metavar="T")
    c.add_argument("--top-p", type=float, metavar="P")
    c.add_argument("--top-k", type=int, metavar="K")
    c.add_argument("--seed", type=int, metavar="S")
    c.add_argument("--stop", action="append", metavar="TEXT", help="may be repeated")
    c.add_argument("--stats", action="store_true", help="print speeds at the end")


# ── running models ──


async def opened(args: argparse.Namespace) -> Any:
    from py_rwkv.native import open_model

    with Bar() as bar:
        warn = lambda e: print(f"py-rwkv: {e.message} Running on the CPU with numpy.", file=sys.stderr)  # noqa: E731
        return await open_model(args.model, args.device, quantization=args.quant, progress=bar, warn=warn)


def info(args: argparse.Namespace) -> None:
    async def run() -> None:
        engine = await opened(args)
        facts = engine.info()
        if args.json:
            print(json.dumps(facts, indent=1))
        else:
            model, memory, program = facts["model"], facts["memory"], facts["program"]
            print(
                f"{model['name']}: RWKV-{model['version']}, {model['layers']} layers × {model['embd']}, {model['heads']} heads of {model['head_size']}, ",
                end="",
            )
            print(f"vocabulary {model['vocab']}, {model['quantization']}, {model['bytes'] / 1e6:.1f} MB stored")
            print(f"{facts['device']['kind']}: {facts['device']['adapter']}")
            print(
                f"memory: {memory['weight'] / 1e6:.1f} MB weights, {memory['state'] / 1e6:.1f} MB states, {memory['scratch'] / 1e6:.1f} MB scratch"
            )
            print(f"a token: {program['dispatches']} dispatches, {program['bytesPerToken'] / 1e6:.1f} MB read")
        if args.program:
            print(engine.decode)

    asyncio.run(run())


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


def logits(args: argparse.Namespace) -> None:
    import numpy as np

    try:
        tokens = [int(t) for t in args.tokens.split(",")]
    except ValueError:
        raise RwkvError("bad-setting", name="--tokens", expected="whole numbers separated by commas", found=args.tokens[:80]) from None

    async def run() -> None:
        engine = await opened(args)
        values = np.frombuffer(await engine.logits(tokens, every=args.every), np.float32)
        shaped = values.reshape(-1, engine.config.vocab) if args.every else values
        try:
            with open(args.out, "wb") as file:
                np.save(file, shaped)
        except OSError as e:
            raise RwkvError("cannot-write", name=args.out, reason=e.strerror or str(e)) from None
        print(f"{args.out}: f32 {list(shaped.shape)}, best token {int(shaped.reshape(-1, engine.config.vocab)[-1].argmax())}")

    asyncio.run(run())


# ── files and the site ──


def convert(args: argparse.Namespace) -> None:
    from py_rwkv.chat.templates import template_for
    from py_rwkv.checkpoint.convert import convert as run
    from py_rwkv.checkpoint.convert import open_source, open_weights
    from py_rwkv.checkpoint.lora import Lora, with_lora
    from py_rwkv.checkpoint.shards import DirectorySink

    def lora(text: str) -> Lora:
        path, _, alpha = text.rpartition(":")
        try:
            strength = float(alpha)
        except ValueError:
            raise RwkvError("bad-setting", name="--lora", expected="FILE:ALPHA", found=text[:80]) from None
        return Lora(open_source(path), strength)

    template_for(args.template)
    with Bar() as bar:
        progress = lambda _, done, total: bar("convert", done, total, "bytes")  # noqa: E731
        weights = with_lora(open_weights(args.source), [lora(text) for text in args.lora])
        more = {"template": args.template, "group_norm_eps": args.group_norm_eps, "progress": progress}
        manifest = run(weights, DirectorySink(args.target), strategy=args.quant, name=args.name, **more)
    print(f"{args.target}: {manifest.name}, {manifest.quantization}, {len(manifest.shards)} shard(s), {manifest.total_bytes / 1e6:.1f} MB")


def serve(args: argparse.Namespace) -> None:
    from py_rwkv.site import vendor
    from py_rwkv.site.build import build as make
    from py_rwkv.site.serve import serve as run

    site = make(vendor.cache_dir() / "site", progress=lambda text: print(text, file=sys.stderr))
    with run(site, port=args.port, host=args.host) as server:
        print(server.url, flush=True)
        server.wait()


def build(args: argparse.Namespace) -> None:
    from py_rwkv.site.build import build as make

    print(make(args.outdir, progress=lambda text: print(text, file=sys.stderr)))


class Bar:
    """A progress bar on a terminal's stderr; silent elsewhere."""

    def __init__(self) -> None:
        self.shown, self.last = sys.stderr.isatty(), 0.0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __call__(self, phase: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if not self.shown or (done < total and now - self.last < 0.1):
            return
        self.last, part = now, done / total if total else 0.0
        amount = f"{done / 1e6:.0f} / {total / 1e6:.0f} MB" if unit == "bytes" else f"{done} / {total}"
        print(f"\r\033[K{phase:<8} [{'█' * int(30 * part):<30}] {amount}", end="", file=sys.stderr, flush=True)
