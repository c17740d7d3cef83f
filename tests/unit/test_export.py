"""Models out: what is written is read back as it was, byte for byte from a checkpoint, number for number from a packed model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dialect_files as files
import numpy as np
import pytest
from make_pth import bf16, save

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.convert import convert, open_weights
from py_rwkv.checkpoint.export import Model, export_safetensors, from_checkpoint, from_packed
from py_rwkv.checkpoint.hf_export import CODE, VOCABULARY, export_hugging_face, hugging_face_name, vocabulary_text, world_tokenizer_files
from py_rwkv.checkpoint.layout import FOLDED, UNUSED
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import MemoryShards
from py_rwkv.checkpoint.official import unfold_embedding
from py_rwkv.checkpoint.pack import pack
from py_rwkv.checkpoint.safetensors import Piece
from py_rwkv.checkpoint.shards import MemorySink, ShardWriter
from py_rwkv.checkpoint.source import BytesSource, FileSource
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import detect
from py_rwkv.quant import parse_strategy
from py_rwkv.tokenizer.vocabulary import parse
from py_rwkv.tokenizer.world import WorldTokenizer

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]


def opened(arrays: files.Arrays) -> Checkpoint:
    return open_checkpoint(BytesSource("m.pth", save(arrays)))


@pytest.mark.parametrize("version", VERSIONS)
def test_checkpoints_come_back_byte_for_byte(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_rwkv.checkpoint.export.AT_ONCE", 300)  # several blocks per tensor
    w = files.weights(files.config(version))
    w |= {"head.weight": w["head.weight"].astype("<f2"), "emb.weight": bf16(w["emb.weight"]).reshape(40, 20)}
    c = opened(w)
    size = export_safetensors(from_checkpoint(c), tmp_path / "m.safetensors")
    back = open_weights(tmp_path / "m.safetensors")
    assert size == (tmp_path / "m.safetensors").stat().st_size and [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert list(back.tensors) == list(c.tensors) and back.metadata == {"format": "pt", "rwkv_version": version}
    for name, t in c.tensors.items():
        assert (back.tensors[name].dtype, back.tensors[name].shape, back.read(name)) == (t.dtype, t.shape, c.read(name))


def test_other_dialects_are_written_in_official_names(tmp_path: Path) -> None:
    w = files.weights(files.config("6"))
    export_safetensors(
        from_checkpoint(open_checkpoint(BytesSource("m.st", files.safetensors(files.web_rwkv(w))))), tmp_path / "m.safetensors"
    )
    back = open_weights(tmp_path / "m.safetensors")
    assert back.dialect == "official" and all(back.read(name) == x.tobytes() for name, x in w.items())


def packed(w: files.Arrays, strategy: str) -> tuple[Manifest, MemoryShards]:
    """A packed model that kept ln0."""
    c = opened(w)
    config, plan, sink = detect(c.shapes), parse_strategy(strategy), MemorySink()
    made = convert(BytesSource("m.pth", save(w)), MemorySink(), strategy=strategy)
    writer = ShardWriter(sink)
    pieces = {p.name: p for p in pack(c, config, plan)}
    pieces |= {name: Piece(name, "F32", (20,), c.f32(name).tobytes()) for name in FOLDED}
    for piece in pieces.values():
        writer.add(piece)
    writer.close()
    fields: dict[str, Any] = {k: getattr(made, k) for k in ("name", "config", "quantization", "tokenizer", "template", "sampling")}
    manifest = Manifest(**fields, tensors=writer.index, shards=tuple(writer.shards))
    return manifest, MemoryShards(manifest.shards, sink.shards)


def repacked(path: Path, strategy: str) -> dict[str, Piece]:
    c = open_checkpoint(FileSource(path))
    return {p.name: p for p in pack(c, detect(c.shapes), parse_strategy(strategy))}


@pytest.mark.parametrize("strategy", ["f32", "f16"])
@pytest.mark.parametrize("version", VERSIONS)
def test_packed_models_come_back(version: str, strategy: str, tmp_path: Path) -> None:
    w = files.weights(files.config(version), dtype="<f2" if strategy == "f16" else "<f4")
    w = {name: x.astype("<f4") for name, x in w.items()}
    export_safetensors(from_packed(*packed(w, strategy)), tmp_path / "m.safetensors")
    back = open_checkpoint(FileSource(tmp_path / "m.safetensors"))
    assert set(back.tensors) == set(w) - set(UNUSED)
    folded = {n for n in w if "time_mix" in n or version[0] == "5" and n.endswith(("time_decay", "time_first"))} | {"emb.weight"}
    for name in set(back.tensors) - folded:
        assert np.array_equal(back.f32(name).reshape(w[name].shape), w[name]), name
    for name in folded - {"emb.weight"}:
        np.testing.assert_allclose(back.f32(name).reshape(w[name].shape), w[name], rtol=0, atol=2e-5, err_msg=name)
    before = {p.name: p for p in pack(opened(w), detect({n: x.shape for n, x in w.items()}), parse_strategy(strategy))}
    after = repacked(tmp_path / "m.safetensors", strategy)
    assert set(before) == set(after)
    for name, p in before.items():
        if p.dtype == "F16":
            a, b = (np.frombuffer(x.data, "<f2").astype("f8") for x in (p, after[name]))
            # a rounded embedding is no longer exactly what a LayerNorm can give; everything else is the same
            assert np.array_equal(a, b) if name != "emb.weight" else np.abs(a - b).max() <= 1e-3 * np.abs(a).max(), name
        else:
            np.testing.assert_allclose(
                np.frombuffer(after[name].data, "<f4"), np.frombuffer(p.data, "<f4"), rtol=0, atol=2e-6, err_msg=name
            )


def test_int8_models_come_back_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    w = files.weights(files.config("7"))
    manifest, shards = packed(w, "int8")
    export_safetensors(from_packed(manifest, shards), tmp_path / "m.safetensors")
    back = open_checkpoint(FileSource(tmp_path / "m.safetensors"))
    weights = Weights(manifest, shards)
    assert np.array_equal(back.f32("head.weight"), weights.f32("head.weight")[:, :20])
    assert np.array_equal(back.f32("blocks.1.att.g2").T, weights.f32("blocks.1.att.g2")[:, :9])
    assert 0 < np.abs(back.f32("head.weight") - w["head.weight"]).max() < 0.02


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 100.0])
def test_unfolded_embeddings_have_the_same_effect(scale: float, rng: np.random.Generator) -> None:
    """Also where the LayerNorm's eps matters: embeddings are initialised with 1e-4."""
    gain, bias = rng.standard_normal(64).astype("f4"), rng.standard_normal(64).astype("f4")

    def norm(x: np.ndarray) -> np.ndarray:
        x = x.astype("f8")
        x = x - x.mean(1, keepdims=True)
        out: np.ndarray = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * gain + bias
        return out

    x = (rng.standard_normal((50, 64)) * scale).astype("f4")
    e = norm(x).astype("f4")
    np.testing.assert_allclose(norm(unfold_embedding(e, gain, bias)), e, rtol=0, atol=1e-5)


def test_without_ln0_the_embedding_cannot_be_unfolded() -> None:
    manifest, shards = packed(files.weights(files.config("7")), "f16")
    for name in FOLDED:
        del manifest.tensors[name]
    with pytest.raises(RwkvError) as e:
        from_packed(manifest, shards)
    assert e.value.code == "cannot-export" and "ln0" in str(e.value)


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    model = from_checkpoint(opened(files.weights(files.config("4"))))
    with pytest.raises(RwkvError) as e:
        export_safetensors(model, tmp_path / "nowhere" / "m.safetensors")
    assert e.value.code == "cannot-write"
    broken = Model(model.name, model.config, [model.tensors[0]._replace(blocks=lambda: [b"short"])])
    with pytest.raises(RwkvError) as e:
        export_safetensors(broken, tmp_path / "m.safetensors")
    assert e.value.code == "internal" and not list(tmp_path.iterdir())


def test_hugging_face_folder(tmp_path: Path) -> None:
    w = files.weights(files.config("4"), dtype="<f2")
    assert {hugging_face_name(name) for name in w} == set(files.transformers(w))
    export_hugging_face(from_checkpoint(opened(w)), tmp_path, {"tokenizer.json": b"{}"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    config = json.loads((tmp_path / "config.json").read_bytes())
    assert (config["model_type"], config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]) == ("rwkv", 20, 36, 2)
    assert (config["vocab_size"], config["torch_dtype"], config["rescale_every"]) == (40, "float16", 6)
    back = open_weights(tmp_path)
    assert back.dialect == "hugging-face" and all(back.read(name) == x.tobytes() for name, x in w.items())
    with pytest.raises(RwkvError) as e:
        export_hugging_face(from_checkpoint(opened(files.weights(files.config("7")))), tmp_path)
    assert e.value.code == "cannot-export" and "RWKV-7" in str(e.value)


def test_the_vocabulary_in_its_published_form() -> None:
    tokens = [b"", *(bytes([i]) for i in range(256)), "'\"\u0085\u2028 é".encode(), b"\xff\xfe", b"", b"last"]
    assert parse(vocabulary_text(tokens)) == tokens
    assert vocabulary_text([b"", b"a b", b"\xe9"]) == b"1 'a b' 3\n2 b'\\xe9' 1\n"


def test_world_tokenizer_files() -> None:
    table = world_tokenizer_files()
    assert set(table) == {VOCABULARY, CODE, "tokenizer_config.json", "special_tokens_map.json"}
    tokens = parse(table[VOCABULARY])
    world = WorldTokenizer.load()
    assert len(tokens) == 65530 and all(token == world.token_bytes(i) for i, token in enumerate(tokens))
    assert json.loads(table["tokenizer_config.json"])["auto_map"]["AutoTokenizer"][0] == "hf_rwkv_tokenizer.RwkvWorldTokenizer"
    compile(table[CODE], CODE, "exec")
