"""The command line on a tiny model, on numpy: what a person types and what comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from make_pth import save
from tiny_model import weights

from py_rwkv.cli import main
from py_rwkv.models.config import Config

BYTES = Config("7", 2, 64, 1, 64, 256, 256, {"w": 16, "a": 16, "v": 16, "g": 16})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A random byte-level model: every byte is a token."""
    path = tmp_path / "tiny.pth"
    path.write_bytes(save({name: w * np.float32(0.2) for name, w in weights(BYTES).items()}))
    return path


def run(*words: str | Path) -> int:
    return main([str(w) for w in words])


def test_convert_info_logits(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", checkpoint, tmp_path / "model", "--quant", "int8", "--name", "tiny") == 0
    assert "tiny, int8, 1 shard(s)" in capsys.readouterr().out
    assert run("info", tmp_path / "model", "--device", "cpu", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["layers"] == 2
    assert run("info", tmp_path / "model", "--device", "cpu", "--program") == 0
    assert "21 dispatches, 8.0 per layer" in capsys.readouterr().out
    rows = {}
    for model, quant in ((tmp_path / "model", None), (checkpoint, "int8")):
        out = tmp_path / "out.npy"
        extra = ["--quant", quant] if quant else []
        assert run("logits", model, "--tokens", "34,105,110", "--every", "--device", "cpu", "--out", out, *extra) == 0
        rows[str(model)] = np.load(out)
    first, second = rows.values()
    assert first.shape == (3, 256) and (first == second).all()  # converted before or at load: the same model


def test_generate_is_reproducible(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in (1, 1, 2):
        assert (
            run(
                "generate", checkpoint, "-p", "ab", "-n", "12", "--temperature", "1", "--top-p", "1", "--seed", str(seed), "--device", "cpu"
            )
            == 0
        )
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2] and texts[0].startswith("ab")


def test_chat_asks_once(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("chat", checkpoint, "-p", "Hi", "-n", "5", "--device", "cpu", "--stats") == 0
    assert "5 generated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["info", "absent.pth", "--device", "cpu"], "file-not-found"),
        (["logits", "MODEL", "--tokens", "1,x", "--out", "o.npy", "--device", "cpu"], "bad-setting"),
        (["logits", "MODEL", "--tokens", "256", "--out", "o.npy", "--device", "cpu"], "bad-token"),
        (["generate", "MODEL", "-p", "", "--device", "cpu"], "empty-prompt"),
        (["generate", "MODEL", "-p", "a", "--temperature", "-1", "--device", "cpu"], "bad-setting"),
        (["convert", "MODEL", "OUT", "--quant", "int3"], "unknown-strategy"),
        (["convert", "MODEL", "OUT", "--template", "haiku"], "unknown-template"),
        (["convert", "MODEL", "OUT", "--lora", "x.pth"], "bad-setting"),
    ],
)
def test_bad_input_ends_with_a_code_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*[{"MODEL": checkpoint, "OUT": tmp_path / "out"}.get(w, w) for w in words]) == 1
    assert f"[{code}]" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.pth"]
