"""Matrices that store repeated rows once: the table and the head are read and multiplied as they are stored, matrices of layers are expanded when they are uploaded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import engine_of, logits_of, packed
from tiny_model import weights

from py_rwkv.checkpoint.manifest import Manifest, Stored
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import HARDWARE, SOFTWARE
from py_rwkv.native import _Ready
from py_rwkv.runtime.engine import Engine

RANKS = {"w": 16, "a": 16, "v": 16, "g": 24}
TOKENS = [1, 7, 299, 0, 42, 42, 205, 77, 3]
LAYER = "blocks.1.ffn.key.weight"


def pair(stored: int, vocab: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """A model of `stored` tokens, one of `vocab` whose tokens are those of the first in another order, and which they are. A layer has repeated rows, too."""
    rng = np.random.default_rng()
    config = Config("7", 2, 64, 1, 64, 128, stored, RANKS)
    few = {name: x * np.float32(0.2 if x.ndim == 2 else 0.5) for name, x in weights(config, seed=int(rng.integers(1 << 30))).items()}
    few[LAYER] = few[LAYER][rng.integers(0, 50, len(few[LAYER]))]
    rows = np.concatenate([rng.permutation(stored), rng.integers(0, stored, vocab - stored)])
    return few, few | {name: few[name][rows] for name in ("emb.weight", "head.weight")}, rows


@pytest.mark.parametrize(
    ("stored", "vocab"), [(130, 301), (4200, 9001), (65_600, 131_300)]
)  # the second in several slabs, the third with an index of 32 bits
@pytest.mark.parametrize("kind", ["numpy", "software", "hardware"])
def test_logits_are_those_of_the_model_written_out(kind: str, stored: int, vocab: int) -> None:
    few, many, rows = pair(stored, vocab)
    tokens = [*TOKENS, vocab - 1]

    async def both() -> tuple[np.ndarray, np.ndarray]:
        expected = await logits_of(await engine_of(few, NumpyDevice()), [int(rows[t]) for t in tokens], every=True)
        device = NumpyDevice() if kind == "numpy" else WgpuDevice(tuning=HARDWARE if kind == "hardware" else replace(SOFTWARE, chunk=4))
        if stored == 4200:
            device.limits = replace(device.limits, binding_bytes=320_000)
        engine = await engine_of(many, device)
        program = engine.decode
        assert [c.kernel for c in program.calls].count("spread") == 1
        assert [c.kernel for c in program.calls].count("embed") == (4 if stored == 4200 else 1)
        assert program.buffers["head.weight.rows"].used == -(-vocab * (2 if stored < 1 << 16 else 4) // 16) * 16
        found = await logits_of(engine, tokens, every=True)
        again = await logits_of(engine, tokens[:3])
        assert np.abs(again - found[2]).max() < 1e-4
        return expected[:, rows], found

    expected, found = asyncio.run(both())
    assert np.abs(expected).max() > 0.05 and np.abs(found - expected).max() < 1e-4


class Changed:
    """Shards, one of them another."""

    def __init__(self, shards: Any, changed: int, data: bytes) -> None:
        self.shards, self.changed, self.data = shards, changed, data

    def read(self, index: int) -> bytes:
        data: bytes = self.data if index == self.changed else self.shards.read(index)
        return data


@pytest.mark.parametrize("name", ["emb.weight.rows", "head.weight.rows", f"{LAYER}.rows"])
def test_an_index_of_rows_that_are_not_stored(name: str) -> None:
    manifest, shards = packed(pair(130, 301)[1])
    [piece] = manifest.tensors[name].pieces
    data = bytearray(shards.read(piece.shard))
    data[piece.offset + 20 : piece.offset + 22] = (1000).to_bytes(2, "little")
    with pytest.raises(RwkvError, match=f"{name} names row 1000 of") as e:
        asyncio.run(Engine.load(manifest, _Ready(Changed(shards, piece.shard, bytes(data))), NumpyDevice()))
    assert e.value.code == "bad-manifest"


def cut(t: Stored) -> Stored:
    """The same in two pieces."""
    [p], row = t.pieces, t.nbytes // t.shape[0]
    return replace(t, pieces=(p._replace(nbytes=4 * row), p._replace(offset=p.offset + 4 * row, nbytes=p.nbytes - 4 * row, first_row=4)))


@pytest.mark.parametrize("name", ["emb.weight", "emb.weight.rows", "head.weight", "head.weight.rows", LAYER, f"{LAYER}.rows"])
def test_what_is_stored_once_in_several_pieces(name: str) -> None:
    """The table and the head are as good as whole ones; a matrix that has to be expanded is refused before anything is uploaded."""
    manifest, shards = packed(pair(130, 301)[1])
    changed = Manifest.from_json(replace(manifest, tensors=manifest.tensors | {name: cut(manifest.tensors[name])}).to_json())

    async def logits(m: Manifest) -> np.ndarray:
        return await logits_of(await Engine.load(m, _Ready(shards), NumpyDevice()), TOKENS)

    if name.startswith(LAYER):
        with pytest.raises(RwkvError, match=f"{LAYER} or its index is cut") as e:
            asyncio.run(logits(changed))
        assert e.value.code == "bad-manifest"
    else:
        assert np.array_equal(asyncio.run(logits(changed)), asyncio.run(logits(manifest)))
