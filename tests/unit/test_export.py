"""Models out: what is written is read back as it was, byte for byte from a checkpoint, number for number from a packed model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dialect_files as files
import numpy as np
import pytest
from make_pth import bf16, save
from models import converted, packed

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.convert import open_weights
from py_rwkv.checkpoint.embedding import NORMALIZED, fold, unfold
from py_rwkv.checkpoint.export import Model, export_safetensors, from_checkpoint, from_packed, open_export
from py_rwkv.checkpoint.hf_export import CODE, VOCABULARY, export_hugging_face, hugging_face_name, vocabulary_text, world_tokenizer_files
from py_rwkv.checkpoint.layout import FOLDED, UNUSED
from py_rwkv.checkpoint.lora import Lora, with_lora
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import MemoryShards
from py_rwkv.checkpoint.official import unfolded
from py_rwkv.checkpoint.pack import FOLDS
from py_rwkv.checkpoint.shards import MemorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.cli import main
from py_rwkv.errors import RwkvError
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


def stored(manifest: Manifest, shards: MemoryShards) -> dict[str, bytes]:
    """Every tensor of a packed model, byte for byte."""
    weights = Weights(manifest, shards)
    return {name: weights.stored(name).tobytes() for name in manifest.tensors}


def exported(manifest: Manifest, shards: MemoryShards, path: Path) -> files.Arrays:
    """Written to `path` and read again: {official name: f32}."""
    export_safetensors(from_packed(manifest, shards), path)
    back = open_weights(path)
    return {name: back.f32(name).reshape(t.shape) for name, t in back.tensors.items()}


def again(path: Path, strategy: str) -> tuple[Manifest, MemoryShards]:
    sink = MemorySink()
    manifest = converted(open_weights(path), sink, strategy=strategy)
    return manifest, MemoryShards(manifest.shards, sink.shards)


@pytest.mark.parametrize("strategy", ["f32", "f16", "f16, emb=f32"])
@pytest.mark.parametrize("version", VERSIONS)
def test_packed_models_come_back_bit_for_bit(version: str, strategy: str, tmp_path: Path) -> None:
    """Exported and converted again, every packed tensor is the same; what was not folded is also what the checkpoint had."""
    w = files.weights(files.config(version), dtype="<f2" if strategy == "f16" else "<f4")
    w = {name: x.astype("<f4") for name, x in w.items()}
    manifest, shards = packed(w, strategy)
    back = exported(manifest, shards, tmp_path / "m.safetensors")
    assert set(back) == set(w) - set(UNUSED)
    second = again(tmp_path / "m.safetensors", strategy)
    assert second[0].tensors == manifest.tensors and stored(*second) == stored(manifest, shards)
    folded = {n for n in w if "time_mix" in n or version[0] == "5" and n.endswith(("time_decay", "time_first"))}
    for name in set(back) - {"emb.weight"} if strategy != "f16, emb=f32" else {"blocks.0.ln0.bias", "ln_out.weight"}:
        assert back[name].shape == ((1, 1, 20) if ".att.k_" in name else w[name].shape), name  # as official files have them
        tolerance = 2e-5 if name in folded else 0
        np.testing.assert_allclose(back[name].reshape(w[name].shape), w[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("fold", ["complement", "exp", "decay"])
def test_folded_vectors_fold_again_to_the_same(fold: Any, rng: np.random.Generator) -> None:
    v = np.concatenate([rng.standard_normal(20000) * 3, rng.uniform(-30, 6, 20000), [-1e30, 0, 1, 1e-30]]).astype("f4")
    v = v[v < 80] if fold == "exp" else v
    with np.errstate(all="ignore"):
        made = FOLDS[fold](v.astype("f8")).astype("f4")
        assert np.array_equal(FOLDS[fold](unfolded(made, fold).astype("f8")).astype("f4"), made)
    assert np.isfinite(unfolded(made, fold)).all()


def test_int8_models_come_back_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    w = files.weights(files.config("7"))
    manifest, shards = packed(w, "int8")
    back, weights = exported(manifest, shards, tmp_path / "m.safetensors"), Weights(manifest, shards)
    assert np.array_equal(back["head.weight"], weights.f32("head.weight")[:, :20])
    assert np.array_equal(back["blocks.1.att.g2"].T, weights.f32("blocks.1.att.g2")[:, :9])
    assert 0 < np.abs(back["head.weight"] - w["head.weight"]).max() < 0.05


def norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """LayerNorm as everybody has it."""
    x = x.astype("f8")
    x = x - x.mean(1, keepdims=True)
    out: np.ndarray = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * gain + bias
    return out


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 100.0])
def test_unfolded_embeddings_have_the_same_effect(scale: float, dtype: str, rng: np.random.Generator) -> None:
    """Also where the LayerNorm's eps matters (embeddings are initialised with 1e-4); exactly for this reader, to rounding for others."""
    gain, bias = (rng.standard_normal(256) + 2).astype("f4"), rng.standard_normal(256).astype("f4")
    x = (rng.standard_normal((50, 256)) * scale).astype("f4")
    e = fold(x, gain, bias)
    np.testing.assert_allclose(e, norm(x, gain, bias), rtol=1e-6, atol=4e-6)
    e = e.astype(dtype).astype("f4")
    rows = unfold(e, gain, bias, 2**-11 if dtype == "<f2" else 2**-24)
    assert np.array_equal(fold(rows, gain, bias, normalized=True).astype(dtype).astype("f4"), e)
    np.testing.assert_allclose(norm(rows, gain, bias), e, rtol=5e-4 if dtype == "<f2" else 2e-6, atol=1e-3 if dtype == "<f2" else 4e-6)


def test_gains_of_nothing_do_not_spoil_the_others(rng: np.random.Generator) -> None:
    """A channel without gain tells nothing of its value; what is made up for it must not change the row's length."""
    gain, bias = rng.uniform(0.5, 1.5, 256).astype("f4"), rng.standard_normal(256).astype("f4")
    gain[::5], gain[3] = 1e-7, 0
    x = rng.standard_normal((50, 256)).astype("f4") * np.float32(0.1)
    for dtype, precision, tolerance in (("<f4", 2**-24, 0.2), ("<f2", 2**-11, 0.2)):
        e = fold(x, gain, bias).astype(dtype).astype("f4")
        rows = unfold(e, gain, bias, precision)
        assert np.abs(norm(rows, gain, bias) - e).max() < tolerance
        found = fold(rows, gain, bias, normalized=True).astype(dtype).astype("f4")
        np.testing.assert_allclose(found, e, rtol=2 * precision, atol=1e-7)


def test_a_lora_on_the_embedding_ends_its_being_normalized(tmp_path: Path) -> None:
    w = files.weights(files.config("7"))
    exported(*packed(w, "f32"), tmp_path / "m.safetensors")
    base = open_weights(tmp_path / "m.safetensors")
    lora = {"emb.weight.lora_A": np.ones((1, 20), "f4"), "emb.weight.lora_B": np.ones((40, 1), "f4")}
    assert NORMALIZED.items() <= base.metadata.items()
    assert not NORMALIZED.keys() & with_lora(base, [Lora(BytesSource("l.pth", save(lora)), 1.0)]).metadata.keys()


def test_the_group_norm_s_eps_comes_back(tmp_path: Path) -> None:
    sink = MemorySink()
    manifest = converted(BytesSource("m.pth", save(files.weights(files.config("5.2")))), sink, strategy="f32", group_norm_eps=1e-5)
    export_safetensors(from_packed(manifest, MemoryShards(manifest.shards, sink.shards)), tmp_path / "m.safetensors")
    assert again(tmp_path / "m.safetensors", "f32")[0].config == manifest.config
    export_safetensors(open_export(tmp_path / "m.safetensors"), tmp_path / "n.safetensors")
    assert open_weights(tmp_path / "n.safetensors").metadata == open_weights(tmp_path / "m.safetensors").metadata


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_a_default_state_becomes_time_states(version: str, tmp_path: Path, rng: np.random.Generator) -> None:
    w = files.weights(files.config(version))
    w |= {f"blocks.{i}.att.time_state": rng.standard_normal((5, 4, 4)).astype("f4") for i in range(2)}
    back = exported(*packed(w, "f32"), tmp_path / "m.safetensors")
    assert all(np.array_equal(back[name], w[name]) for name in w if name.endswith("time_state"))
    assert stored(*again(tmp_path / "m.safetensors", "f32")) == stored(*packed(w, "f32"))


def test_states_that_official_files_cannot_hold_are_refused(tmp_path: Path) -> None:
    manifest, shards = packed(files.weights(files.config("7")), "f32")
    tensors = {**manifest.tensors, "state.1.ffn_prev": manifest.tensors["ln_out.weight"]}
    with pytest.raises(RwkvError) as e:
        from_packed(replace(manifest, tensors=tensors), shards)
    assert e.value.code == "cannot-export" and "state.1.ffn_prev" in str(e.value)


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
    assert back.shapes["blocks.1.att.time_mix_k"] == back.shapes["blocks.0.ffn.time_mix_r"] == (1, 1, 20)  # transformers insists
    assert back.shapes["blocks.1.att.time_decay"] == (20,)


def test_hugging_face_folder_of_a_model_directory(tmp_path: Path) -> None:
    """What comes from packed tensors has the same names, shapes and, but for the embedding, numbers."""
    w = files.weights(files.config("4"))
    export_hugging_face(from_packed(*packed(w, "f32")), tmp_path / "hf")
    back = open_weights(tmp_path / "hf")
    assert {name: t.shape for name, t in back.tensors.items()} == {name: x.shape for name, x in w.items()}
    assert stored(*again(tmp_path / "hf", "f32")) == stored(*packed(w, "f32"))


def test_only_rwkv_4_becomes_a_transformers_folder(tmp_path: Path) -> None:
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


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str | Path) -> str:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return str(code) + out + err

    w = files.weights(files.config("4"))
    (tmp_path / "m.pth").write_bytes(save(w))
    assert "0" + str(tmp_path / "a.safetensors") + ": m.pth, RWKV-4, " in run("export", tmp_path / "m.pth", tmp_path / "a.safetensors")
    run("convert", tmp_path / "a.safetensors", tmp_path / "dir", "--quant", "f32")
    assert run("export", tmp_path / "dir", tmp_path / "b.safetensors").startswith("0")
    assert stored(*again(tmp_path / "b.safetensors", "f32")) == stored(*packed(w, "f32"))
    assert run("export", tmp_path / "dir" / "manifest.json", tmp_path / "hf", "--format", "hf", "--tokenizer", tmp_path / "m.pth")[0] == "0"
    assert sorted(p.name for p in (tmp_path / "hf").iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert "[unreadable-file]" in run("export", tmp_path / "m.pth", tmp_path / "hf", "--format", "hf", "--tokenizer", tmp_path / "none")
    assert (
        "40 tokens" in (text := run("export", tmp_path / "m.pth", tmp_path / "t", "--format", "hf-tokenizer")) and "[cannot-export]" in text
    )
    assert "[cannot-write]" in run("export", tmp_path / "m.pth", tmp_path / "hf")  # a folder
    assert "[cannot-write]" in run("export", tmp_path / "m.pth", tmp_path / "m.pth" / "hf", "--format", "hf")
    assert "[file-not-found]" in run("export", tmp_path / "nothing.pth", tmp_path / "x")
