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
            c.add_argument("--quant", metavar="STRATEGY", help="for a checkpoint: f32, f16, int8, …; default: the precision of the file")
        return c


async def opened(args: argparse.Namespace) -> Any:
    from py_rwkv.native import open_model

    with Bar() as bar:
        warn = lambda e: print(f"py-rwkv: {e.message} Running on the CPU with numpy.", file=sys.stderr)  # noqa: E731
        return await open_model(args.model, args.device, quantization=args.quant, progress=bar, warn=warn)


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
