"""Write py_rwkv/runtime/selftest.json: what the numpy references make of the self-test's models, one per version and encoding.

python build_scripts/make_selftest.py
"""

from __future__ import annotations

import asyncio
import json
from array import array
from base64 import b64encode
from pathlib import Path

from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.models import PROGRAMS
from py_rwkv.models.tuning import SAFE
from py_rwkv.quant import ENCODINGS
from py_rwkv.runtime import selftest

TARGET = Path(selftest.__file__).with_name("selftest.json")


async def made() -> dict[str, str]:
    table = {}
    for version in sorted(PROGRAMS.keys() - {"5.1"}):  # once packed, it is 5.2
        for encoding in ENCODINGS:
            rows = await selftest.rows(NumpyDevice(), SAFE, version, encoding, "f32", "f32")
            numbers = array("h", [round(x * selftest.STEP) for row in rows for x in row[:: selftest.EVERY]])
            table[f"{version} {encoding}"] = b64encode(numbers.tobytes()).decode()
    return table


if __name__ == "__main__":
    TARGET.write_text(json.dumps(asyncio.run(made()), indent=1) + "\n", "utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
