"""A model quantized on the GPU is the same, byte for byte, as one quantized with numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from make_pth import bf16, save
from models import converted, finished, packed
from tiny_model import CONFIG, weights

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.quantizer import Rows
from py_rwkv.checkpoint.shards import MemorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.cli import main
from py_rwkv.devices.gpu_quantizer import GpuQuantizer
from py_rwkv.devices.wgpu_device import WgpuDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.quant import ENCODINGS

WIDE = Config("7", 1, 192, 3, 64, 200, 700, {"w": 20, "a": 40, "v": 64, "g": 100})


@pytest.fixture(scope="module")
def quantizer(adapter_summary: str) -> Iterator[GpuQuantizer]:
    device = WgpuDevice()
    yield GpuQuantizer(device, 1 << 15)  # several blocks of rows, the last one shorter
    device.close()


def on_gpu(quantizer: GpuQuantizer, w: dict[str, np.ndarray], strategy: str) -> Manifest:
    return converted(BytesSource("random.pth", save(w)), MemorySink(), strategy=strategy, quantizer=quantizer)


@pytest.mark.parametrize(("strategy", "dtype"), [("int8", "<f4"), ("nf4, emb=int8, head=f16", "<f2"), ("int4, head=nf4", "bf16")])
def test_the_same_shards(quantizer: GpuQuantizer, strategy: str, dtype: str) -> None:
    for config in (CONFIG, WIDE):
        w = weights(config)
        w["head.weight"][5:30] = w["head.weight"][4]  # repetitions: nearly all rows of the small one
        w["blocks.0.ffn.key.weight"][:3] = 0
        w = {n: bf16(x) if dtype == "bf16" else x.astype(dtype) for n, x in w.items()}
        assert on_gpu(quantizer, w, strategy).shards == packed(w, strategy)[0].shards


def test_errors_come_from_the_same_places(quantizer: GpuQuantizer) -> None:
    for value, code in ((np.nan, "bad-weights"), (70000.0, "weights-too-large")):
        w = weights(CONFIG)
        w["blocks.1.ffn.value.weight"][19, 71] = value
        with pytest.raises(RwkvError) as e:
            on_gpu(quantizer, w, "int8")
        assert e.value.code == code and e.value.details["name"] == "blocks.1.ffn.value.weight"


@pytest.mark.parametrize("encoding", ["int8", "nf4", "int4"])
def test_many_random_blocks(quantizer: GpuQuantizer, encoding: str, rng: np.random.Generator) -> None:
    """Heavy tails, and magnitudes from below the smallest scale to the largest; 300 000 weights, of which not one may differ."""
    for _ in range(10):
        x = rng.standard_t(3, (60, 500)) * 10 ** rng.uniform(-8, 2.5, (60, 1))
        rows = Rows("F32", 500, np.clip(x, -60000, 60000).astype("<f4").tobytes())
        padded = np.zeros((60, 512), np.float32)
        padded[:, :500] = rows.f32()
        found, expected = finished(quantizer.encode(encoding, rows)), ENCODINGS[encoding].encode(padded)
        assert all(np.array_equal(found[s], expected[s]) for s in expected)


def test_the_command_converts_on_the_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    w = weights(CONFIG)
    (tmp_path / "m.pth").write_bytes(save(w))
    assert main(["convert", str(tmp_path / "m.pth"), str(tmp_path / "out"), "--quant", "nf4", "--device", "gpu"]) == 0
    assert {f.stem for f in (tmp_path / "out").glob("*.safetensors")} == {s.sha256 for s in packed(w, "nf4")[0].shards}
