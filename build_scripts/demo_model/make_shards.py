"""The demo model as the page gets it: a checkpoint → int8 shards and a manifest in web/models/demo.

python build_scripts/demo_model/make_shards.py rwkv7-demo.pth [web/models/demo]
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from py_rwkv.checkpoint.convert import convert, open_source
from py_rwkv.checkpoint.manifest import Sampling
from py_rwkv.checkpoint.shards import DirectorySink

CARD = {
    "description": "A tiny RWKV-7 (6 layers × 256) for small talk, simple facts, stories, and names it was told.",
    "licence": "Apache-2.0",
    "source": "build_scripts/demo_model",
}
SAMPLING = Sampling(temperature=0.3, top_p=0.3, presence_penalty=0, frequency_penalty=0, max_tokens=300, stop=("\n\n",))


def main(checkpoint: str, target: str = "web/models/demo") -> None:
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "demo"
        work = convert(open_source(checkpoint), DirectorySink(fresh), strategy="int8", name="RWKV-7 demo", sampling=SAMPLING, card=CARD)
        manifest = asyncio.run(work)
        for old in Path(target).glob("*.safetensors"):
            old.unlink()
        shutil.copytree(fresh, target, dirs_exist_ok=True)
    print(f"{target}: {len(manifest.shards)} shard(s), {manifest.total_bytes} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
