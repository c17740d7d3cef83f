"""Files in and out: convert."""

from __future__ import annotations

import argparse
import asyncio

from py_rwkv.cli.base import Bar, Commands, checkpoint_options
from py_rwkv.cli.state import read_start, start_options
from py_rwkv.native import DEVICES, open_device


def register(commands: Commands) -> None:
    c = commands.add("convert", convert, "A checkpoint to a model directory for the page.", model=False)
    c.add_argument("source", metavar="SRC", help="a .pth, .safetensors, .st or .gguf file, its URL, or a Hugging Face folder")
    c.add_argument("target", metavar="DST", help="the directory to write")
    c.add_argument(
        "--quant",
        default="int8",
        metavar="STRATEGY",
        help="f32, f16, int8 (default), int4, nf4, or mixed, e.g. `nf4, head=int8` or `int8 *20 -> f16`",
    )
    c.add_argument("--name", help="the model's name; default: that of the file")
    c.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where to quantize: cpu (default), gpu, or auto; the result is the same"
    )
    checkpoint_options(c)
    start_options(c)
    c.add_argument("--template", help="prompt template: world, g1, g1h, raven, plain; default: what the file's name tells")


def convert(args: argparse.Namespace) -> None:
    from py_rwkv.chat.templates import template_for
    from py_rwkv.checkpoint.convert import convert as run
    from py_rwkv.checkpoint.convert import open_lora, open_weights
    from py_rwkv.checkpoint.lora import with_lora
    from py_rwkv.checkpoint.shards import DirectorySink
    from py_rwkv.checkpoint.tokenizer_file import beside, wanted_tokenizer
    from py_rwkv.devices.gpu_quantizer import GpuQuantizer
    from py_rwkv.models.config import detect

    if args.template:
        template_for(args.template)
    with Bar() as bar:
        progress = lambda _, done, total: bar("convert", done, total, "bytes")  # noqa: E731
        weights = with_lora(open_weights(args.source), [open_lora(text) for text in args.lora])
        start = read_start(args, detect(weights.shapes)) if args.state else None
        more = {"template": args.template, "group_norm_eps": args.group_norm_eps, "progress": progress}
        words = wanted_tokenizer(args.tokenizer) if args.tokenizer else beside(args.source, detect(weights.shapes).vocab)
        device = open_device(args.device)
        more |= {
            "quantizer": GpuQuantizer(device) if device.kind == "wgpu" else None,
            "start": start,
            "force": args.force_state,
            "tokenizer": words,
        }
        manifest = asyncio.run(run(weights, DirectorySink(args.target), strategy=args.quant, name=args.name, **more))
    print(f"{args.target}: {manifest.name}, {manifest.quantization}, {len(manifest.shards)} shard(s), {manifest.total_bytes / 1e6:.1f} MB")
