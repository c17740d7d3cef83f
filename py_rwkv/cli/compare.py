"""Looking inside a model: dump, compare."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from py_rwkv.cli.base import MODEL, Commands, opened
from py_rwkv.errors import RwkvError
from py_rwkv.native import DEVICES

if TYPE_CHECKING:
    from py_rwkv.runtime.compare import Comparison
    from py_rwkv.runtime.dump import Dump

TOKENS = "1,2,3,4,5,6,7,8"


def register(commands: Commands) -> None:
    c = commands.add("dump", dump, "Every value that a model computes on some tokens, as a safetensors file.")
    c.add_argument("--tokens", required=True, metavar="1,2,3")
    c.add_argument("--out", required=True, metavar="PATH", help="FILE.safetensors, or a directory for values.safetensors")
    c.add_argument("--points", default="*", metavar="PATTERN", help="which values, e.g. `layer.0.*`; docs/hooks.md lists their names")
    c.add_argument("--fused", action="store_true", help="only what an ordinary run writes to memory, with exactly its kernels")
    c.add_argument("--one-by-one", action="store_true", help="a step per token, as in decoding")
    text = "Where two runs part: two devices, quantizations, models or dumps. Exit status 1 if they do."
    c = commands.add("compare", compare, text, model=False)
    c.add_argument("a", metavar="A", help=f"{MODEL}; or a dump")
    c.add_argument("b", metavar="B", help="as A; B is held against it")
    c.add_argument("--tokens", metavar="1,2,3", help=f"default: those of the dump, or {TOKENS}")
    for run in "ab":
        c.add_argument(f"--device-{run}", choices=DEVICES, default="auto")
        c.add_argument(f"--quant-{run}", metavar="STRATEGY", help="for a checkpoint; default: the precision of the file")
        c.add_argument(f"--lora-{run}", action="append", default=[], metavar="FILE:ALPHA", help="merge into a checkpoint first")
    c.add_argument("--group-norm-eps", type=float, metavar="E", help="for checkpoints")
    c.add_argument("--points", default="*", metavar="PATTERN")
    c.add_argument("--unfused", action="store_true", help="also the values between the steps of fused kernels")
    c.add_argument("--one-by-one", action="store_true", help="a step per token, as in decoding")
    c.add_argument("--tolerance", type=float, default=1e-3, metavar="E", help="relative to the largest value of a point; default 1e-3")


def token_list(text: str) -> list[int]:
    try:
        return [int(t) for t in text.split(",")]
    except ValueError:
        raise RwkvError("bad-setting", name="--tokens", expected="whole numbers separated by commas", found=text[:80]) from None


def recorded(args: argparse.Namespace, tokens: Sequence[int], *, fused: bool) -> Dump:
    """The values of the model that `opened` opens with these options."""
    from py_rwkv.runtime.dump import record

    run = record(lambda hooks: opened(args, hooks=hooks), tokens, points=args.points, fused=fused, rows=int(args.one_by_one))
    return asyncio.run(run)


def dump(args: argparse.Namespace) -> None:
    from py_rwkv.runtime.dump import write_dump

    made = recorded(args, token_list(args.tokens), fused=args.fused)
    path = write_dump(args.out, made)
    print(f"{path}: {len(made.values)} values of {len(made.tokens)} tokens, {sum(v.nbytes for v in made.values.values()) / 1e6:.1f} MB")


def compare(args: argparse.Namespace) -> None:
    from py_rwkv.runtime.compare import compare as run
    from py_rwkv.runtime.dump import is_dump, read_dump

    if not args.tolerance >= 0:
        raise RwkvError("bad-setting", name="--tolerance", expected="a number from 0", found=args.tolerance)
    dumps = {name: read_dump(path) for name, path in (("a", args.a), ("b", args.b)) if is_dump(path)}
    given = next(iter(dumps.values()), None)
    tokens = token_list(args.tokens) if args.tokens else list(given.tokens) if given else token_list(TOKENS)
    fused = given.fused if given else not args.unfused
    for name, path in (("a", args.a), ("b", args.b)):
        if name not in dumps:
            own = {option: getattr(args, f"{option}_{name}") for option in ("device", "quant", "lora")}
            dumps[name] = recorded(argparse.Namespace(**{**vars(args), **own, "model": path}), tokens, fused=fused)
        print(f"{name.upper()}: {dumps[name].about}")
    found = run(dumps["a"], dumps["b"], args.tolerance)
    show(found)
    if found.not_finite:
        raise RwkvError("not-a-number", where=str(found.not_finite))
    if found.first:
        raise RwkvError("models-part", point=found.first.point, error=f"{found.first.relative:.3g}", tolerance=f"{args.tolerance:g}")
    print(f"They agree: {len(found.differences)} values, nowhere more than {max(d.relative for d in found.differences):.3g} apart.")


def show(found: Comparison) -> None:
    """The table, what is not a number first."""
    if found.not_finite:
        print(f"Not a number, first in {found.not_finite}")
    print(f"{'value':<24} {'max |a − b|':>12} {'/ max |a|':>10}")
    first = found.first
    for d in found.differences:
        mark = "  ← they part" if d is first else "  *" if d.parted else ""
        print(f"{d.point:<24} {d.error:>12.3e} {d.relative:>10.2e}{mark}")
    if found.alone:
        print(f"in one of them only: {', '.join(found.alone[:8])}{' …' if len(found.alone) > 8 else ''}")
