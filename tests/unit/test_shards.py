"""From a checkpoint to a model directory and back: shards, the manifest, and everything that can be wrong with them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_pth import save
from models import converted, loaded, pieces
from tiny_model import CONFIG, weights

from py_rwkv.checkpoint.manifest import Manifest, Sampling, choose_tokenizer
from py_rwkv.checkpoint.model_dir import open_model_dir
from py_rwkv.checkpoint.safetensors import Piece, read_header
from py_rwkv.checkpoint.shards import DirectorySink, MemorySink, ShardWriter
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.checkpoint.unpack import Weights
from py_rwkv.errors import RwkvError

FILE = save(weights())
SOURCE = BytesSource("tiny.pth", FILE)


def made(**options: Any) -> tuple[Manifest, MemorySink]:
    sink = MemorySink()
    return converted(SOURCE, sink, **{"strategy": "int8", **options}), sink


@pytest.mark.parametrize("limit", [2500, 4096, 10_000, 1 << 20])
@pytest.mark.parametrize("strategy", ["f32", "f16", "int8"])
def test_shards_hold_what_was_packed(limit: int, strategy: str, tmp_path: Path) -> None:
    converted(SOURCE, DirectorySink(tmp_path / "m"), strategy=strategy, shard_limit=limit)
    manifest, shards = open_model_dir(tmp_path / "m")
    model = Weights(manifest, shards)
    from py_rwkv.checkpoint.checkpoint import open_checkpoint

    for p in pieces(open_checkpoint(SOURCE), CONFIG, model.strategy):
        assert model.stored(p.name).tobytes() == bytes(p.data), p.name
    files = {f.name for f in (tmp_path / "m").iterdir()}
    assert files == {"manifest.json", *(f"{s.sha256}.safetensors" for s in manifest.shards)}
    assert all(s.bytes <= limit for s in manifest.shards) and manifest.total_bytes == sum(s.bytes for s in manifest.shards)
    assert (len(manifest.shards) > 1) == (limit < 1 << 20)


@pytest.mark.parametrize("limit", [2500, 1 << 20])
def test_every_piece_is_where_the_manifest_says_and_named_in_its_shard(limit: int) -> None:
    manifest, sink = made(strategy="f32", shard_limit=limit)
    headers = [read_header(BytesSource("s", sink.shards[s.sha256]))[0] for s in manifest.shards]
    cut = 0
    for name, t in manifest.tensors.items():
        for shard, offset, nbytes, first in t.pieces:
            inside = headers[shard][name if len(t.pieces) == 1 else f"{name}@{first}"]
            assert (inside.offset, inside.nbytes, inside.dtype) == (offset, nbytes, t.dtype) and offset % 4 == 0
            assert offset + -(-nbytes // 4) * 4 <= manifest.shards[shard].bytes  # readable up to the next multiple of 4
        cut += len(t.pieces) > 1
    assert (cut > 0) == (limit == 2500)


def test_tensors_of_odd_sizes_are_padded_apart() -> None:
    sink = MemorySink()
    writer = ShardWriter(sink, 900)
    tensors = [Piece(f"t{i}", "U8", (n,), bytes([i]) * n) for i, n in enumerate((1, 2, 3, 4, 5, 700, 7, 2000))]
    for t in tensors:
        writer.add(t)
    writer.close()
    for i, t in enumerate(tensors):
        stored = b"".join(sink.shards[writer.shards[s].sha256][at : at + n] for s, at, n, _ in writer.index[f"t{i}"].pieces)
        assert stored == t.data and all(at % 4 == 0 for _, at, _, _ in writer.index[f"t{i}"].pieces)


def test_conversion_is_reproducible_and_describes_itself() -> None:
    manifest, sink = made(name="Tiny", template="world", sampling=Sampling(temperature=0.3, stop=("\n\n",)), card={"licence": "Apache-2.0"})
    again, other = made(name="Tiny", template="world", sampling=Sampling(temperature=0.3, stop=("\n\n",)), card={"licence": "Apache-2.0"})
    assert manifest == again and sink.shards == other.shards
    assert all(sha256(data).hexdigest() == name for name, data in sink.shards.items())
    assert Manifest.from_json(manifest.to_json()) == manifest
    data = json.loads(manifest.to_json())
    assert (data["format"], data["format_version"], data["name"], data["quantization"]) == ("py_rwkv-model", 1, "Tiny", "int8")
    assert data["source"] == {"file": "tiny.pth", "bytes": len(FILE)} and data["sampling"]["stop"] == ["\n\n"]


def test_progress_covers_every_byte_once() -> None:
    seen: list[tuple[str, int, int]] = []
    made(progress=lambda *step: seen.append(step))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert (
        seen[-1][1] == seen[-1][2]
        and len({total for _, _, total in seen}) == 1
        and {"emb.weight", "head.weight"} <= {name for name, _, _ in seen}
    )


def test_natural_precision() -> None:
    assert made(strategy=None)[0].quantization == "f32"
    assert converted(BytesSource("h", save(weights(dtype="<f2"))), MemorySink()).quantization == "f16"


@pytest.mark.parametrize(
    ("vocab", "tokenizer"), [(65536, "world"), (256, "bytes"), (50277, "20b"), (50304, "20b"), (50305, "unknown"), (40, "unknown")]
)
def test_choice_of_the_tokenizer(vocab: int, tokenizer: str) -> None:
    assert choose_tokenizer(vocab) == tokenizer


# ---- loading


def test_reading_a_manifest_needs_no_numpy() -> None:
    program = (
        "import sys, py_rwkv.checkpoint.convert as c; c.Manifest.from_json(sys.stdin.buffer.read()); assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], input=made()[0].to_json().encode(), check=True)


def test_load_model_takes_directories_and_files(tmp_path: Path) -> None:
    (tmp_path / "tiny.pth").write_bytes(FILE)
    converted(SOURCE, DirectorySink(tmp_path / "m"), strategy="int8")
    results = [
        loaded(tmp_path / "m"),
        loaded(str(tmp_path / "m" / "manifest.json")),
        loaded(tmp_path / "tiny.pth", strategy="int8"),
    ]
    assert len({Weights(*r).stored("head.weight").tobytes() for r in results}) == 1
    assert np.array_equal(Weights(*loaded(tmp_path / "tiny.pth")).f32("head.weight")[:, :20], weights()["head.weight"])


def test_repeated_rows_are_expanded_when_read() -> None:
    w = weights()
    w["head.weight"] = w["head.weight"][np.arange(40) % 3]
    sink = MemorySink()
    manifest = converted(BytesSource("m", save(w)), sink, strategy="f32")
    assert manifest.tensors["head.weight"].shape == (3, 32)
    from py_rwkv.checkpoint.model_dir import MemoryShards

    assert np.array_equal(Weights(manifest, MemoryShards(manifest.shards, sink.shards)).f32("head.weight")[:, :20], w["head.weight"])


def code(action: Callable[[], object]) -> str:
    with pytest.raises(RwkvError) as e:
        action()
    return e.value.code


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    assert code(lambda: open_model_dir(tmp_path)) == "not-a-model-directory"
    assert code(lambda: open_model_dir(tmp_path / "nowhere")) == "not-a-model-directory"
    assert code(lambda: loaded(tmp_path / "nothing.pth")) == "file-not-found"
    converted(SOURCE, DirectorySink(tmp_path / "m"), shard_limit=10_000)
    manifest, shards = open_model_dir(tmp_path / "m")
    path = tmp_path / "m" / f"{manifest.shards[1].sha256}.safetensors"
    good = path.read_bytes()
    for bad in (good[:-1], good + b"x", good[:100] + bytes([good[100] ^ 1]) + good[101:]):
        path.write_bytes(bad)
        assert code(lambda: shards.read(1)) == "shard-mismatch"
    path.unlink()
    assert code(lambda: shards.read(1)) == "missing-shard"
    assert shards.read(0)
    (tmp_path / "m" / "manifest.json").write_text("{")
    assert code(lambda: open_model_dir(tmp_path / "m")) == "bad-manifest"


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    w = weights()
    w["head.weight"][0, 0] = np.nan  # the last tensor
    bad = BytesSource("bad.pth", save(w))
    assert code(lambda: converted(bad, DirectorySink(tmp_path / "m"), strategy="f32", shard_limit=4096)) == "bad-weights"
    assert not (tmp_path / "m").exists()
    converted(SOURCE, DirectorySink(tmp_path / "m"), strategy="f32", shard_limit=4096)
    before = {f.name: f.read_bytes() for f in (tmp_path / "m").iterdir()}
    assert code(lambda: converted(bad, DirectorySink(tmp_path / "m"), strategy="int8", shard_limit=2048)) == "bad-weights"
    assert {f.name: f.read_bytes() for f in (tmp_path / "m").iterdir()} == before

    def cancel(tensor: str, done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(SOURCE, DirectorySink(tmp_path / "m"), strategy="int8", shard_limit=2048, progress=cancel)
    assert {f.name: f.read_bytes() for f in (tmp_path / "m").iterdir()} == before


def test_a_new_model_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    converted(SOURCE, DirectorySink(tmp_path), strategy="f32", shard_limit=4096)
    (tmp_path / "README.md").write_text("mine")
    manifest = converted(SOURCE, DirectorySink(tmp_path), strategy="int8")
    assert {f.name for f in tmp_path.iterdir()} == {"README.md", "manifest.json", *(f"{s.sha256}.safetensors" for s in manifest.shards)}


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    assert code(lambda: DirectorySink(tmp_path)) == "destination-in-use"
    (tmp_path / "manifest.json").unlink()
    (tmp_path / f"{'0' * 64}.safetensors.part").write_text("left over by a killed conversion")
    DirectorySink(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    assert code(lambda: DirectorySink(tmp_path)) == "destination-in-use"
    assert code(lambda: DirectorySink(tmp_path / "thesis.tex")) == "cannot-write"
    assert code(lambda: converted(SOURCE, DirectorySink(tmp_path / "thesis.tex" / "m"))) == "cannot-write"


def test_headers_are_checked_before_anything_is_read() -> None:
    w: dict[str, Any] = {**weights(), "ln_out.bias": np.zeros(20, "<i8")}
    read: list[str] = []
    with pytest.raises(RwkvError) as e:
        converted(BytesSource("m", save(w)), MemorySink(), progress=lambda name, *_: read.append(name))
    assert e.value.code == "unsupported-dtype" and e.value.details["name"] == "ln_out.bias" and not read


# ---- manifests that lie

MANIFEST = json.loads(made(strategy="int8", shard_limit=4096, card={"licence": "x"})[0].to_json())


def change(path: str, value: Any) -> dict[str, Any]:
    """A copy of the manifest with one value replaced (or removed, if value is `...`)."""
    data: Any = copy.deepcopy(MANIFEST)
    *inner, last = path.split("/")
    at = data
    for key in inner:
        at = at[int(key) if isinstance(at, list) else key]
    last_key: Any = int(last) if isinstance(at, list) else last
    if value is ...:
        del at[last_key]
    else:
        at[last_key] = value
    return data  # type: ignore[no-any-return]


PIECE = MANIFEST["tensors"]["head.weight"]["pieces"][0]
LIES: list[tuple[str, Any]] = [
    *((key, ...) for key in ("format", "format_version", "name", "config", "quantization", "sampling", "tensors", "shards", "total_bytes")),
    *(("name", v) for v in (1, "", "x" * 201)),
    *(("format_version", v) for v in (2, "1", None)),
    *(("total_bytes", v) for v in (0, MANIFEST["total_bytes"] + 1, "1")),
    ("surprise", 1),
    ("quantization", "f16"),
    ("tensors", []),
    ("tensors/head.weight", ...),
    ("tensors/head.weight.scale", ...),
    ("tensors/extra", MANIFEST["tensors"]["head.weight"]),
    ("tensors/head.weight/dtype", "U8"),
    ("tensors/head.weight/dtype", "I9"),
    ("tensors/head.weight/dtype", ["I8"]),
    ("tensors/head.weight/shape", [40, 31]),
    ("tensors/head.weight/shape", [-40, -32]),
    ("tensors/head.weight/shape", [40.0, 32]),
    ("tensors/head.weight/shape", []),
    ("tensors/head.weight/shape", [1 << 60, 1 << 60]),
    ("tensors/head.weight/pieces", []),
    ("tensors/head.weight/pieces", [PIECE, PIECE]),
    ("tensors/head.weight/pieces/0/0", 99),
    ("tensors/head.weight/pieces/0/0", -1),
    ("tensors/head.weight/pieces/0/0", True),
    ("tensors/head.weight/pieces/0/1", 0),
    ("tensors/head.weight/pieces/0/1", PIECE[1] + 2),
    ("tensors/head.weight/pieces/0/1", PIECE[1] - 16),
    ("tensors/head.weight/pieces/0/1", 1 << 40),
    ("tensors/head.weight/pieces/0/2", PIECE[2] - 32),
    ("tensors/head.weight/pieces/0/2", PIECE[2] + 1),
    ("tensors/head.weight/pieces/0/3", 1),
    ("shards/0/sha256", "../../etc/passwd"),
    ("shards/0/sha256", "A" * 64),
    ("shards/0/bytes", 10),
    ("shards/0/bytes", 1 << 40),
    ("shards/0", "x"),
    ("shards", {}),
    ("sampling/temperature", -1),
    ("sampling/temperature", "hot"),
    ("sampling/top_k", 1.5),
    ("sampling/max_tokens", 0),
    ("sampling/stop", [""]),
    ("sampling/stop", "x"),
    ("sampling/surprise", 1),
    ("sampling/temperature", float("nan")),
    ("card", {"a": [1]}),
    ("card", "text"),
    ("source", {"a": "x" * 70000}),
]


@pytest.mark.parametrize(("path", "value"), LIES, ids=[f"{p}={str(v)[:20]}" for p, v in LIES])
def test_manifests_that_lie(path: str, value: Any) -> None:
    assert code(lambda: Manifest.from_json(json.dumps(change(path, value)))) == "bad-manifest"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("config/layers", 3, "bad-manifest"),
        ("config/embd", 24, "bad-config"),
        ("config/version", "8", "unsupported-architecture"),
        ("config/version", "6", "bad-config"),
        ("config", [], "bad-config"),
        ("config/vocab", 1 << 24, "bad-manifest"),
        ("quantization", "int1", "unknown-strategy"),
    ],
)
def test_manifests_whose_config_lies(path: str, value: Any, expected: str) -> None:
    assert code(lambda: Manifest.from_json(json.dumps(change(path, value)))) == expected


def test_the_unchanged_manifest_is_good() -> None:
    assert Manifest.from_json(json.dumps(MANIFEST)).shards


def test_rows_must_fit() -> None:
    rows = {"dtype": "U16", "shape": [40], "pieces": [[PIECE[0], PIECE[1] + 4, 80, 0]]}
    assert code(lambda: Manifest.from_json(json.dumps(change("tensors/head.weight.rows", rows)))) == "bad-manifest"  # overlaps something


def test_pieces_end_where_a_device_can_go_on() -> None:
    data, end = change("total_bytes", MANIFEST["total_bytes"] + 128), MANIFEST["shards"][0]["bytes"]
    data["shards"][0]["bytes"] += 128
    scale = data["tensors"]["head.weight.scale"]
    assert scale["dtype"] == "U8" and scale["shape"] == [40, 1] and end % 4 == 0
    scale["pieces"] = [[0, end, 4, 0], [0, end + 16, 36, 4]]
    assert len(Manifest.from_json(json.dumps(data)).tensors["head.weight.scale"].pieces) == 2
    scale["pieces"] = [[0, end, 3, 0], [0, end + 16, 37, 3]]
    assert code(lambda: Manifest.from_json(json.dumps(data))) == "bad-manifest"


def paths(value: Any, at: str = "") -> list[str]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([at] if at else []) + [p for key, v in inner for p in paths(v, f"{at}/{key}" if at else str(key))]


ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=4)
    | st.just({})
    | st.just(...)
)


@settings(max_examples=200)
@given(st.sampled_from(paths(MANIFEST)), ODD)
def test_random_changes_give_a_manifest_or_a_code(path: str, value: Any) -> None:
    with suppress(RwkvError):
        Manifest.from_json(json.dumps(change(path, value)))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, b"\xff\xfe{", '{"format": "py_rwkv-model"}'])
def test_what_is_no_manifest(text: str | bytes) -> None:
    assert code(lambda: Manifest.from_json(text)) == "bad-manifest"
