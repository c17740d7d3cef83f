"""Dialects: a model in web-rwkv's or Hugging Face's names and layouts packs to exactly what its official `.pth` packs to."""

from __future__ import annotations

import json
from collections.abc import Mapping

import dialect_files as files
import numpy as np
import pytest
from make_pth import bf16, save
from models import pieces

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.convert import natural_strategy
from py_rwkv.checkpoint.dialects import Derived, scaled
from py_rwkv.checkpoint.quantizer import NumpyQuantizer
from py_rwkv.checkpoint.safetensors import TensorInfo
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config, detect
from py_rwkv.quant import parse_strategy

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]


def opened(data: bytes, name: str = "m.st") -> Checkpoint:
    return open_checkpoint(BytesSource(name, data))


def packed(checkpoint: Checkpoint, strategy: str = "f32") -> tuple[Config, list[tuple[object, ...]]]:
    config = detect(checkpoint.shapes)
    return config, [(p.name, p.dtype, p.shape, bytes(p.data)) for p in pieces(checkpoint, config, parse_strategy(strategy))]


def same(a: Checkpoint, arrays: Mapping[str, np.ndarray]) -> bool:
    return packed(a) == packed(opened(save(arrays), "m.pth"))


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_web_rwkv(version: str, dtype: str) -> None:
    w = files.weights(files.config(version), dtype=dtype)
    c = opened(files.safetensors(files.web_rwkv(w)))
    mine, theirs = packed(c), packed(opened(save(w), "m.pth"))
    assert mine[1] == theirs[1]
    assert mine[0].version == {"5.1": "5.2"}.get(version, version)  # its decays are repeated for every channel: numerically the same
    assert c.dialect == ("official" if version in ("4", "5.0") else "web-rwkv")
    assert natural_strategy(c) == ("f16" if dtype == "<f2" else "f32")


def test_web_rwkv_in_bf16_and_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyQuantizer, "weights", 60)
    w = {name: bf16(a).reshape(a.shape) for name, a in files.weights(files.config("6")).items()}
    assert same(opened(files.safetensors(files.web_rwkv(w))), w)


def test_a_rank_as_large_as_the_width_is_told_by_the_other_factors() -> None:
    c = Config("7", 2, 20, 5, 4, 36, 40, {"w": 20, "a": 5, "v": 20, "g": 20})
    w = files.weights(c)
    assert same(opened(files.safetensors(files.web_rwkv(w))), w)
    square = files.weights(Config("7", 2, 20, 5, 4, 36, 40, dict.fromkeys("wavg", 20)))
    assert same(opened(files.safetensors(square)), square)  # nothing tells: taken as official


def test_factors_of_both_orientations_are_refused() -> None:
    w = files.weights(files.config("7"))
    w["blocks.1.att.g2"] = w["blocks.1.att.g2"].T.copy()
    with pytest.raises(RwkvError) as e:
        packed(opened(files.safetensors(w)))
    assert e.value.code == "wrong-shape" and e.value.details["name"] == "blocks.1.att.g2" and e.value.details["found"] == "20 × 9"


def test_official_files_are_left_alone() -> None:
    for version in VERSIONS:
        w = files.weights(files.config(version))
        c = opened(files.safetensors(w))
        assert c.dialect == "official" and not any(isinstance(t, Derived) for t in c.tensors.values())


def test_both_spellings_at_once_are_not_merged() -> None:
    w = files.weights(files.config("6"))
    w["blocks.0.att.time_mix_k"] = w["blocks.0.att.time_maa_k"]
    assert "blocks.0.att.time_mix_k" in opened(files.safetensors(w)).tensors


@pytest.mark.parametrize("version", ["4", "5.0", "5.1", "5.2", "6"])
def test_transformers_and_the_community_layouts(version: str) -> None:
    w = files.weights(files.config(version))
    c = opened(files.safetensors(files.transformers(w)))
    assert c.dialect == "hugging-face" and same(c, w)
    assert same(opened(save(files.transformers(w)), "pytorch_model.bin"), w)


@pytest.mark.parametrize("fused", [False, True])
def test_flash_linear_attention(fused: bool) -> None:
    w = files.weights(files.config("7"))
    c = opened(files.safetensors(files.fla(w, fused=fused)))
    assert c.dialect == "hugging-face" and same(c, w)


def test_unknown_hugging_face_tensors_are_named() -> None:
    w = files.fla(files.weights(files.config("7")))
    w["model.layers.1.attn.q_proj.weight"] = w["model.layers.1.attn.k_proj.weight"]
    with pytest.raises(RwkvError) as e:
        packed(opened(files.safetensors(w)))
    assert e.value.code == "unsupported-architecture" and "blocks.1.att.q_proj.weight" in str(e.value)


def test_derived_tensors_are_read_in_rows() -> None:
    w = files.weights(files.config("6"))
    c = opened(files.safetensors(files.web_rwkv(w)))
    for name in ("blocks.1.att.time_maa_w1", "blocks.1.att.time_maa_w2", "head.weight"):
        whole = c.f32(name)
        assert np.array_equal(whole, w[name]) and np.array_equal(c.f32(name, 1, 2), w[name][1:3]) and c.f32(name, 1, 0).shape[0] == 0
    told: list[tuple[str, int]] = []
    c.on_read = lambda name, nbytes: told.append((name, nbytes))
    c.read("blocks.0.att.time_maa_w1", 2, 3)
    assert told == [("blocks.0.att.time_maa_w1", 3 * 15 * 4)]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_scaling_by_powers_of_two_is_exact(dtype: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 8)).astype("<f4")
    stored = {"F32": x, "F16": x.astype("<f2"), "BF16": bf16(x).reshape(x.shape)}[dtype]
    t = TensorInfo("t", dtype, x.shape, 0, stored.nbytes)
    half = scaled(t, "t", 8.0)
    assert isinstance(half, Derived) and half.dtype == dtype and half.nbytes == stored.nbytes
    made = half.make(stored)
    value = (lambda a: (a.astype("u4") << 16).view("<f4")) if dtype == "BF16" else (lambda a: a.astype("<f4"))
    assert made.dtype == stored.dtype and np.array_equal(value(made), value(stored) * 8)


def test_a_config_cannot_be_a_checkpoint() -> None:
    with pytest.raises(RwkvError) as e:
        opened(json.dumps({"model_type": "rwkv"}).encode(), "config.json")
    assert e.value.code == "unsupported-file"
