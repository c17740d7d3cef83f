"""Models out, for other programs: export."""

from __future__ import annotations

import argparse
from pathlib import Path

from py_rwkv.cli.base import MODEL, Commands
from py_rwkv.errors import RwkvError

FORMATS = ("safetensors", "hf", "hf-tokenizer")


def register(commands: Commands) -> None:
    c = commands.add("export", export, "A model as a file or folder for other programs.", model=False)
    c.add_argument("model", metavar="MODEL", help=MODEL)
    c.add_argument("target", metavar="OUT", help="the file or folder to write")
    what = "safetensors (default): one file under official names; hf: a folder for transformers' RwkvForCausalLM (RWKV-4); "
    c.add_argument("--format", choices=FORMATS, default=FORMATS[0], help=what + "hf-tokenizer: the World tokenizer for AutoTokenizer")
    c.add_argument("--tokenizer", metavar="FILE", help="hf: a tokenizer.json to put beside the model; the World tokenizer needs none")


def export(args: argparse.Namespace) -> None:
    from py_rwkv.checkpoint.export import export_safetensors, open_export
    from py_rwkv.checkpoint.hf_export import export_hugging_face, make_folder, world_tokenizer_files, write_files
    from py_rwkv.checkpoint.manifest import choose_tokenizer
    from py_rwkv.native import find_model

    model = open_export(find_model(args.model))
    world = choose_tokenizer(model.config.vocab) == "world"
    if args.format == "hf-tokenizer":
        if not world:
            reason = f"its vocabulary has {model.config.vocab} tokens, World's 65536"
            raise RwkvError("cannot-export", format="the World tokenizer", reason=reason)
        write_files(make_folder(args.target), world_tokenizer_files())
        print(f"{args.target}: the World tokenizer")
    elif args.format == "hf":
        files = {"tokenizer.json": read(args.tokenizer)} if args.tokenizer else world_tokenizer_files() if world else {}
        size = export_hugging_face(model, args.target, files)
        print(f"{args.target}: {model.name}, RWKV-4 for transformers, {size / 1e6:.1f} MB")
    else:
        size = export_safetensors(model, args.target)
        print(f"{args.target}: {model.name}, RWKV-{model.config.version}, {len(model.tensors)} tensors, {size / 1e6:.1f} MB")


def read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise RwkvError("unreadable-file", name=path, reason=e.strerror or str(e)) from None
