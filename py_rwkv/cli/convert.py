"""Files in and out: convert."""

from __future__ import annotations

import argparse

from py_rwkv.cli.base import Bar, Commands
from py_rwkv.errors import RwkvError


def register(commands: Commands) -> None:
    c = commands.add("convert", convert, "A checkpoint to a model directory for the page.", model=False)
    c.add_argument("source", metavar="SRC", help="a .pth, .safetensors, .st or .gguf file, its URL, or a Hugging Face folder")
    c.add_argument("target", metavar="DST", help="the directory to write")
    c.add_argument("--quant", default="int8", metavar="STRATEGY", help="f32, f16 or int8 (default), with exceptions: `int8, head=f16`")
    c.add_argument("--name", help="the model's name; default: that of the file")
    c.add_argument("--lora", action="append", default=[], metavar="FILE:ALPHA", help="merge a LoRA file first; may be repeated")
    c.add_argument("--group-norm-eps", type=float, metavar="E", help="default 64e-5; rwkv.cpp's V5 files want 1e-5")
    c.add_argument("--template", default="world", help="prompt template: world, g1, raven, plain")


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
