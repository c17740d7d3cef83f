"""Writes web/models/catalogue.json: the models that the page offers, with what each takes in every encoding. Sizes are computed from the config by the packer's
own layout and the Programs' own buffers; nothing is downloaded.

    python build_scripts/make_catalogue.py            # writes the file
    python build_scripts/make_catalogue.py --check    # fails if it is not what this writes
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.models.config import Config, tensors
from py_rwkv.runtime.plan import need, need_of

MODELS = Path(__file__).resolve().parents[1] / "web/models"
HOST = "https://huggingface.co/"
CHOICES = ("int8", "nf4", "int4", "f16")
LANGUAGES = ["en", "zh", "fr", "es", "de", "pt", "ru", "it", "ja", "ko", "vi", "ar"]
TEXTS = {
    "g1": {
        "en": "Thinks before it answers if asked to; the newest training data.",
        "zh": "可选择先思考再回答；训练数据最新。",
    },
    "world7": {"en": "RWKV-7 for conversation and text in a hundred languages.", "zh": "RWKV-7，可用一百多种语言对话与写作。"},
    "world6": {"en": "RWKV-6, the generation before.", "zh": "上一代的 RWKV-6。"},
}


class Source(NamedTuple):
    """An official checkpoint. bytes: of the file where it is known, 0: twice the parameters, which is what 16-bit files have (the rest is 0.1 MB)."""

    id: str
    name: str
    family: str
    path: str
    config: Config
    bytes: int = 0


def v7(layers: int, embd: int, w: int, a: int, v: int, g: int) -> Config:
    return Config("7", layers, embd, embd // 64, 64, 4 * embd, 65536, {"w": w, "a": a, "v": v, "g": g})


def v6(layers: int, embd: int, mix: int, decay: int) -> Config:
    return Config("6", layers, embd, embd // 64, 64, int(3.5 * embd) // 32 * 32, 65536, {"mix": mix, "decay": decay})


V7 = {
    "0.1B": v7(12, 768, 64, 64, 32, 128),
    "0.4B": v7(24, 1024, 64, 64, 32, 128),
    "1.5B": v7(24, 2048, 96, 96, 64, 256),
    "2.9B": v7(32, 2560, 96, 96, 64, 320),
}
G1, WORLD7, WORLD6 = "BlinkDL/rwkv7-g1", "BlinkDL/rwkv-7-world", "BlinkDL/rwkv-6-world"
SOURCES = (
    Source("g1-0.1b", "RWKV-7 G1 0.1B", "g1", f"{G1}/resolve/main/rwkv7-g1d-0.1b-20260129-ctx8192.pth", V7["0.1B"]),
    Source("g1-0.4b", "RWKV-7 G1 0.4B", "g1", f"{G1}/resolve/main/rwkv7-g1d-0.4b-20260210-ctx8192.pth", V7["0.4B"]),
    Source("g1-1.5b", "RWKV-7 G1 1.5B", "g1", f"{G1}/resolve/main/rwkv7-g1j-1.5b-20260831-ctx16384.pth", V7["1.5B"]),
    Source("g1-2.9b", "RWKV-7 G1 2.9B", "g1", f"{G1}/resolve/main/rwkv7-g1j-2.9b-20260831-ctx16384.pth", V7["2.9B"]),
    Source(
        "world7-0.1b", "RWKV-7 World 0.1B", "world7", f"{WORLD7}/resolve/main/RWKV-x070-World-0.1B-v2.8-20241210-ctx4096.pth", V7["0.1B"]
    ),
    Source(
        "world7-0.4b", "RWKV-7 World 0.4B", "world7", f"{WORLD7}/resolve/main/RWKV-x070-World-0.4B-v2.9-20250107-ctx4096.pth", V7["0.4B"]
    ),
    Source("world7-1.5b", "RWKV-7 World 1.5B", "world7", f"{WORLD7}/resolve/main/RWKV-x070-World-1.5B-v3-20250127-ctx4096.pth", V7["1.5B"]),
    Source("world7-2.9b", "RWKV-7 World 2.9B", "world7", f"{WORLD7}/resolve/main/RWKV-x070-World-2.9B-v3-20250211-ctx4096.pth", V7["2.9B"]),
    Source(
        "world6-1.6b",
        "RWKV-6 World 1.6B",
        "world6",
        f"{WORLD6}/resolve/main/RWKV-x060-World-1B6-v2.1-20240328-ctx4096.pth",
        v6(24, 2048, 32, 64),
        3199845663,
    ),
    Source(
        "world6-3b",
        "RWKV-6 World 3B",
        "world6",
        f"{WORLD6}/resolve/main/RWKV-x060-World-3B-v2.1-20240417-ctx4096.pth",
        v6(32, 2560, 32, 64),
        6199859158,
    ),
    Source(
        "world6-7b",
        "RWKV-6 World 7B",
        "world6",
        f"{WORLD6}/resolve/main/RWKV-x060-World-7B-v2.1-20240507-ctx4096.pth",
        v6(32, 4096, 64, 128),
        15271627549,
    ),
)


def parameters(config: Config) -> int:
    return sum(prod(t.shape) for t in tensors(config))


def entry(source: Source) -> dict[str, Any]:
    count = parameters(source.config)
    return {
        "id": source.id,
        "name": source.name,
        "family": source.family,
        "url": HOST + source.path,
        "bytes": source.bytes or 2 * count,
        "parameters": count,
        "licence": "Apache-2.0",
        "languages": LANGUAGES,
        "config": source.config.to_json(),
        "sizes": {choice: asdict(need(source.config, choice)) for choice in CHOICES},
        "description": TEXTS[source.family],
    }


def demo() -> dict[str, Any]:
    manifest = Manifest.from_json((MODELS / "demo/manifest.json").read_text("utf-8"))
    return {
        "id": "demo",
        "name": "RWKV-7 demo",
        "family": "demo",
        "path": "demo/",
        "bytes": manifest.total_bytes,
        "parameters": parameters(manifest.config),
        "licence": "Apache-2.0",
        "languages": ["en", "zh"],
        "config": manifest.config.to_json(),
        "sizes": {manifest.quantization: asdict(need_of(manifest))},
        "description": {
            "en": "A tiny RWKV-7 (6 layers × 256): small talk, facts, stories, and it remembers your name.",
            "zh": "一个很小的 RWKV-7（6 层 × 256）：会闲聊、知道一些常识、会讲故事，还能记住你的名字。",
        },
    }


def catalogue() -> str:
    return json.dumps([demo(), *map(entry, SOURCES)], ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    file, text = MODELS / "catalogue.json", catalogue()
    if parser.parse_args().check:
        return 0 if file.read_text("utf-8") == text else 1
    file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
