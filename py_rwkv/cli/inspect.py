"""Looking at a model: info, logits."""

from __future__ import annotations

import argparse
import asyncio
import json

from py_rwkv.cli.base import Commands, opened
from py_rwkv.errors import RwkvError


def register(commands: Commands) -> None:
    c = commands.add("info", info, "What a model is, and what running it costs.")
    c.add_argument("--program", action="store_true", help="print the kernel calls of one token")
    c.add_argument("--json", action="store_true")
    c = commands.add("logits", logits, "Logits after some tokens, as a .npy file.")
    c.add_argument("--tokens", required=True, metavar="1,2,3")
    c.add_argument("--every", action="store_true", help="after every token: [T, V] instead of [V]")
    c.add_argument("--out", required=True, metavar="FILE.npy")


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
