"""Models in several files: indexes and Hugging Face folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dialect_files as files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_pth import save
from models import converted, loaded

from py_rwkv.checkpoint.convert import natural_strategy, open_weights
from py_rwkv.checkpoint.index import open_folder, open_index
from py_rwkv.checkpoint.layout import UNUSED
from py_rwkv.checkpoint.shards import DirectorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError

CONFIG = files.config("7")
W = files.weights(CONFIG)


def parts(arrays: files.Arrays, pth: bool = False) -> dict[str, bytes]:
    """The tensors dealt out to three files, and their index."""
    names = list(arrays)
    ending = "bin" if pth else "safetensors"
    stem = "pytorch_model" if pth else "model"
    out, where = {}, {}
    for i in range(3):
        file = f"{stem}-{i + 1:05}-of-00003.{ending}"
        some = {n: arrays[n] for n in names[i::3]}
        out[file] = save(some) if pth else files.safetensors(some, {"format": "pt"})
        where |= dict.fromkeys(some, file)
    out[f"{stem}.{ending}.index.json"] = json.dumps({"metadata": {"total_size": 1}, "weight_map": where}).encode()
    return out


def folder(table: dict[str, bytes]) -> Any:
    return open_folder("dir", table, lambda name: BytesSource(name, table[name]))


def equal(c: Any) -> None:
    for name, w in W.items():
        if name not in UNUSED:
            assert np.array_equal(c.f32(name).reshape(w.shape), w), name


@pytest.mark.parametrize("pth", [False, True])
def test_parts(pth: bool) -> None:
    table = parts(files.fla(W), pth)
    c = folder(table)
    equal(c)
    assert c.name == "dir" and c.size == sum(len(data) for name, data in table.items() if not name.endswith(".json"))
    assert np.array_equal(c.f32("head.weight", 3, 2), W["head.weight"][3:5])


def test_single_files_and_preference() -> None:
    whole = files.safetensors(files.fla(W))
    equal(folder({"model.safetensors": whole, "other.safetensors": b"", "README.md": b""}))
    equal(folder({"pytorch_model.bin": save(files.fla(W)), "training_args.bin": b"x"}))
    equal(folder({"rwkv7-g1.pth": save(W), "config.json": b"{}"}))


def test_on_disk_and_converted(tmp_path: Path) -> None:
    table = parts(W) | {"config.json": json.dumps({"model_type": "rwkv7", "head_dim": 4, "norm_eps": 1e-5}).encode()}
    for name, data in table.items():
        (tmp_path / name).write_bytes(data)
    equal(open_weights(tmp_path))
    equal(by_index := open_weights(tmp_path / "model.safetensors.index.json"))
    assert by_index.group_norm_eps == 4e-5
    manifest, shards = loaded(tmp_path)
    assert manifest.name == tmp_path.name and manifest.quantization == natural_strategy(open_weights(tmp_path)) == "f32"
    assert manifest.config.group_norm_eps == 4e-5
    assert np.array_equal(Weights(manifest, shards).f32("head.weight")[:, :20], W["head.weight"])
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(RwkvError) as e:
        loaded(tmp_path)
    assert e.value.code == "missing-part" and e.value.details["name"] == "model-00002-of-00003.safetensors"
    with pytest.raises(RwkvError) as e:
        open_weights(tmp_path / "model.safetensors.index.json")
    assert e.value.code == "file-not-found"


def code(table: dict[str, bytes]) -> str:
    with pytest.raises(RwkvError) as e:
        folder(table)
    return e.value.code


def test_folders_without_a_model() -> None:
    assert code({}) == "not-a-model-folder"
    assert code({"a.pth": b"", "b.pth": b""}) == "not-a-model-folder"
    assert code({"config.json": b"{}"}) == "not-a-model-folder"


def test_bad_indexes() -> None:
    table = parts(W)
    name = "model.safetensors.index.json"
    for weight_map in (
        None,
        {},
        [],
        {"a": 1},
        {"a": "../x"},
        {"a": "/etc/passwd"},
        {"a": "http://x"},
        {"a": ""},
        {"a": ".."},
        {"a": "x\\y"},
    ):
        assert code(table | {name: json.dumps({"weight_map": weight_map}).encode()}) == "bad-index"
    assert code(table | {name: b"[" * 100000}) == "bad-index"
    assert code(table | {name: json.dumps({"weight_map": {"a": "model-00001-of-00003.safetensors"}}).encode()}) == "missing-tensor"


def test_configs_that_matter() -> None:
    v4 = files.weights(files.config("4"))
    tied = files.transformers({n: w for n, w in v4.items() if n != "head.weight"})
    c = folder({"model.safetensors": files.safetensors(tied), "config.json": b'{"tie_word_embeddings": true}'})
    assert c.read("head.weight") == v4["emb.weight"].tobytes()
    whole = files.safetensors(files.fla(W))
    for config in ({"norm_eps": 1e-6}, {"attn": {"layers": [1]}}, {"layer_norm_epsilon": 1e-3}):
        with pytest.raises(RwkvError) as e:
            folder({"model.safetensors": whole, "config.json": json.dumps(config).encode()})
        assert e.value.code == "unsupported-architecture" and next(iter(config)) in str(e.value)
    assert folder({"model.safetensors": whole, "config.json": b'{"head_size_divisor": 8}'}).group_norm_eps == 64e-5
    assert code({"model.safetensors": whole, "config.json": b"no"}) == "bad-index"


def test_a_model_directory_still_wins(tmp_path: Path) -> None:
    manifest = converted(BytesSource("m.pth", save(W)), DirectorySink(tmp_path))
    (tmp_path / "m.pth").write_bytes(b"not looked at")
    assert loaded(tmp_path)[0] == manifest


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    )
)
def test_any_json_gives_a_code(value: object) -> None:
    for text in (json.dumps(value), json.dumps({"weight_map": value})):
        with pytest.raises(RwkvError) as e:
            open_index(BytesSource("model.safetensors.index.json", text.encode()), lambda name: BytesSource(name, b""))
        assert e.value.code in ("bad-index", "unsupported-file")
