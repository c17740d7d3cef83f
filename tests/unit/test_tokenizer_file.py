"""Which tokenizer a model gets, vocabularies of one's own, and how a tokenizer's file travels with the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_pth import save
from models import finished, loaded
from tiny_model import weights

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.tokenizer_file import among, beside, chosen, wanted_tokenizer
from py_rwkv.cli import main
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.native import open_model
from py_rwkv.runtime.engine import Engine
from py_rwkv.tokenizer import check_size, open_tokenizer, tokenizer_for

BPE: bytes = json.dumps(json.loads((Path(__file__).parents[1] / "golden" / "bpe.json").read_text("utf-8"))["tokenizer"]).encode()
SUDOKU = b"1 '<board>\\n' 8\n2 '</board>' 8\n5 '\\n' 1\n6 ' ' 1\n" + b"".join(b"%d '%d ' 2\n" % (10 + i, i) for i in range(10))
CONFIG = Config("7", layers=1, embd=16, heads=2, head_size=8, ffn=32, vocab=392, ranks={"w": 4, "a": 4, "v": 4, "g": 4})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A random model whose vocabulary is that of the golden tokenizer, padded from 385 to 392."""
    path = tmp_path / "tiny.pth"
    path.write_bytes(save(weights(CONFIG)))
    return path


@pytest.fixture
def bpe(tmp_path: Path) -> Path:
    path = tmp_path / "words.json"
    path.write_bytes(BPE)
    return path


def opened(path: Path, **options: Any) -> Engine:
    return finished(open_model(path, "cpu", slots=1, **options))


def run(*words: str | Path) -> int:
    return main([str(w) for w in words])


def code(work: Any) -> str:
    with pytest.raises(RwkvError) as e:
        work()
    return e.value.code


def test_a_vocabulary_of_ones_own_is_matched_greedily_and_may_have_gaps() -> None:
    sudoku = open_tokenizer(SUDOKU)
    assert (sudoku.name, sudoku.vocab_limit, sudoku.stop_tokens) == ("vocabulary", 20, (0,))
    assert sudoku.encode("<board>\n1 2 \n</board>") == [1, 11, 12, 5, 2]
    assert sudoku.decode([1, 3, 11, 99]) == "<board>\n1 "
    with pytest.raises(RwkvError, match=r"vocabulary of 14 tokens has none that fits here: x") as e:
        sudoku.encode("1 x")
    assert e.value.code == "cannot-encode"
    assert open_tokenizer(b"0 'a' 1\n1 \"b\" 1").stop_tokens == ()
    assert open_tokenizer(b"\xef\xbb\xbf0 'a' 1\r\n").encode("aa") == [0, 0]


@pytest.mark.parametrize(
    "file",
    [b"", b"\n\n", b"hello", b"1 'a' 2", b"0 'a' 1\n0 'b' 1", b"0 'a' 1\n1 'a' 1", b"1 'a" + b"a" * 5000 + b"' 5001", b"\xff\xfe1\0"],
)
def test_a_vocabulary_that_is_none_is_refused(file: bytes) -> None:
    assert code(lambda: open_tokenizer(file)) == "bad-tokenizer"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.tuples(st.integers(0, 200), st.binary(max_size=5), st.integers(0, 9)).map(
            lambda m: SUDOKU[: m[0]] + m[1] + SUDOKU[m[0] + m[2] :]
        ),
    )
)
def test_any_bytes_are_a_vocabulary_or_refused(data: bytes) -> None:
    try:
        tokenizer = open_tokenizer(data)
        assert tokenizer.decode(tokenizer.encode("<board>\n1 ")) == "<board>\n1 "
    except RwkvError as e:
        if e.code not in ("bad-tokenizer", "cannot-encode"):
            raise


def test_the_choice() -> None:
    assert [chosen(v, None).tokenizer for v in (256, 65530, 65536, 50277, 50304, 20096)] == [
        "bytes",
        "world",
        "world",
        "20b",
        "20b",
        "unknown",
    ]
    assert chosen(65536, "world") == ("world", None, None)
    assert chosen(300, "none").tokenizer == "unknown"
    tokenizer, file, data = chosen(392, BPE)
    assert (tokenizer, file and file.bytes, file and file.tokens, data) == ("bpe", len(BPE), 385, BPE)
    assert chosen(20, SUDOKU).tokenizer == "vocabulary"


@pytest.mark.parametrize(
    ("vocab", "wanted", "sizes"),
    [
        (65536, BPE, (385, 65536)),
        (641, BPE, (385, 641)),
        (384, BPE, (385, 384)),
        (256, "world", (65530, 256)),
        (65536, "bytes", (256, 65536)),
    ],
)
def test_a_tokenizer_of_another_vocabulary_is_refused_with_both_sizes(vocab: int, wanted: str | bytes, sizes: tuple[int, int]) -> None:
    with pytest.raises(RwkvError, match=rf"has {sizes[0]} ids, .* has {sizes[1]}\.") as e:
        chosen(vocab, wanted)
    assert e.value.code == "tokenizer-mismatch"


def test_what_is_missing_is_asked_for() -> None:
    assert code(lambda: chosen(392, "bpe")) == "unknown-tokenizer"
    with pytest.raises(RwkvError, match=r"20b.*20B_tokenizer\.json.*--tokenizer FILE"):
        tokenizer_for("20b")
    with pytest.raises(RwkvError, match=r"unknown.*world, bytes, or a file.*--tokenizer FILE"):
        tokenizer_for("unknown")
    check_size("20b", 50277, 50304)


def test_files_beside_a_checkpoint(tmp_path: Path) -> None:
    assert among(["a.pth", "20B_tokenizer.json", "sudoku_vocab.txt"], 50277) == "20B_tokenizer.json"
    assert among(["a.pth", "sudoku_vocab.txt", "notes.txt"], 144) == "sudoku_vocab.txt"
    assert among(["tokenizer.json"], 65536) == among(["tokenizer.json"], 256) == among(["a.pth"], 300) == ""
    (tmp_path / "tokenizer.json").write_bytes(BPE)
    assert beside(tmp_path / "m.pth", 392) is None  # just any folder
    assert beside(tmp_path, 392) == BPE
    (tmp_path / "config.json").write_text("{}")
    assert beside(tmp_path / "m.pth", 392) == BPE
    assert beside("http://127.0.0.1/m.pth", 392) is None
    assert code(lambda: wanted_tokenizer(str(tmp_path / "absent.json"))) == "file-not-found"


def test_the_file_travels_with_the_model(checkpoint: Path, bpe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    assert run("convert", checkpoint, folder, "--tokenizer", bpe) == 0
    manifest, shards = loaded(folder)
    assert (folder / manifest.tokenizer_name).read_bytes() == shards.tokenizer() == BPE
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert opened(folder).tokenizer.encode("the fox") == open_tokenizer(BPE).encode("the fox")
    assert run("generate", folder, "-p", "the fox", "-n", "2", "--device", "cpu") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("the fox")
    (folder / manifest.tokenizer_name).write_bytes(BPE + b" ")
    assert code(lambda: opened(folder)) == "shard-mismatch"
    (folder / manifest.tokenizer_name).unlink()
    assert code(lambda: opened(folder)) == "missing-shard"


def test_converting_again_leaves_no_old_file(checkpoint: Path, bpe: Path, tmp_path: Path) -> None:
    assert run("convert", checkpoint, tmp_path / "model", "--tokenizer", bpe) == 0
    assert run("convert", checkpoint, tmp_path / "model") == 0
    assert [p.suffix for p in sorted((tmp_path / "model").iterdir())] == [".safetensors", ".json"]
    assert loaded(tmp_path / "model")[0].tokenizer == "unknown"


def test_a_file_given_when_a_model_is_opened(checkpoint: Path, bpe: Path, tmp_path: Path) -> None:
    engine = opened(checkpoint)
    assert code(lambda: engine.tokenizer) == "unknown-tokenizer"
    assert len(finished(engine.logits([1, 2]))) == 4 * 392  # what needs no tokenizer works
    assert run("convert", checkpoint, tmp_path / "model") == 0
    for source in (checkpoint, tmp_path / "model"):
        assert opened(source, tokenizer=str(bpe)).tokenizer.encode("the") == open_tokenizer(BPE).encode("the")
        assert run("generate", source, "-p", "the fox", "-n", "2", "--device", "cpu", "--tokenizer", bpe) == 0
        assert code(lambda source=source: opened(source, tokenizer="world")) == "tokenizer-mismatch"


def test_a_hugging_face_folder_brings_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(save(weights(CONFIG)))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_bytes(BPE)
    assert opened(tmp_path).tokenizer.name == opened(tmp_path / "model.pth").tokenizer.name == "bpe"


def test_rows_without_a_token_are_never_chosen(checkpoint: Path, bpe: Path) -> None:
    w = weights(CONFIG)
    w["head.weight"][385:] *= 1000  # whatever comes, a padded row would be the likeliest
    checkpoint.write_bytes(save(w))
    engine = opened(checkpoint, tokenizer=str(bpe))
    candidates = finished(engine.session().prefill([5, 6, 7]))
    assert max(candidates.ids) < 385
    logits = np.frombuffer(finished(opened(checkpoint).logits([5, 6, 7])), np.float32)
    assert logits.argmax() >= 385


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tokenizer_file": None}, "bad-manifest"),
        ({"tokenizer": "world"}, "bad-manifest"),
        ({"tokenizer_file": []}, "bad-manifest"),
        ({"tokenizer_file": {"sha256": "0" * 64, "bytes": 1}}, "bad-manifest"),
        ({"tokenizer_file": {"sha256": "../x", "bytes": 1, "tokens": 385}}, "bad-manifest"),
        ({"tokenizer_file": {"sha256": "0" * 64, "bytes": 1 << 40, "tokens": 385}}, "bad-manifest"),
        ({"tokenizer_file": {"sha256": "0" * 64, "bytes": 1, "tokens": True}}, "bad-manifest"),
        ({"tokenizer_file": {"sha256": "0" * 64, "bytes": 1, "tokens": 393}}, "tokenizer-mismatch"),
    ],
)
def test_a_manifest_that_lies_about_its_tokenizer(
    checkpoint: Path, bpe: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    assert run("convert", checkpoint, tmp_path / "model", "--tokenizer", bpe) == 0
    manifest = tmp_path / "model" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | changes))
    assert code(lambda: loaded(tmp_path / "model")) == expected
