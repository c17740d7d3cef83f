"""What the commands share: how one is declared, how a model is opened, and the progress bar."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from py_rwkv.native import DEVICES

MODEL = "a model directory, a checkpoint (.pth, .safetensors, .st, .gguf; path or URL), or `demo`"


class Commands:
    """Where the subjects declare their commands."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def add(self, name: str, run: Callable[[argparse.Namespace], None], text: str, *, model: bool = True) -> argparse.ArgumentParser:
        """A command, with MODEL and the options `opened` reads unless `model` is False."""
        c: argparse.ArgumentParser = self._subparsers.add_parser(name, help=text, description=text)
        c.set_defaults(run=run)
        if model:
            c.add_argument("model", metavar="MODEL", help=MODEL)
            c.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU if there is one, else numpy")
            c.add_argument(
                "--quant",
                metavar="STRATEGY",
                help="for a checkpoint: f32, f16, int8, int4, nf4, or e.g. `nf4, head=int8`; default: the precision of the file",
            )
            checkpoint_options(c)
        return c


def checkpoint_options(c: argparse.ArgumentParser) -> None:
    """What may be done to a checkpoint before it is packed."""
    text = "merge a LoRA file into a checkpoint first; may be repeated; `FILE:PATTERN=ALPHA,…` for some tensors (docs/formats.md)"
    c.add_argument("--lora", action="append", default=[], metavar="FILE:ALPHA", help=text)
    c.add_argument("--group-norm-eps", type=float, metavar="E", help="for a checkpoint; default 64e-5; rwkv.cpp's V5 files want 1e-5")
    text = "world, bytes, none, a Hugging Face tokenizer.json, or a vocabulary in World format; default: what the model says"
    c.add_argument("--tokenizer", metavar="NAME|FILE", help=text)


async def opened(args: argparse.Namespace, **more: Any) -> Any:
    """The engine that the options name; `more` goes to `open_model`."""
    from py_rwkv.native import open_model

    with Bar() as bar:
        warn = lambda e: print(f"py-rwkv: {e.message} Running on the CPU with numpy.", file=sys.stderr)  # noqa: E731
        given = {
            "loras": getattr(args, "lora", ()),
            "group_norm_eps": getattr(args, "group_norm_eps", None),
            "tokenizer": getattr(args, "tokenizer", None),
        }
        more = {"quantization": args.quant, **given, **more}
        return await open_model(args.model, args.device, progress=bar, warn=warn, **more)


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
