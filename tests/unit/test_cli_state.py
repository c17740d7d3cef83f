"""States and LoRA files on the command line, on a tiny byte-level model on numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_pth import save
from tiny_model import weights

from py_rwkv.checkpoint.source import FileSource
from py_rwkv.checkpoint.state_file import State, decode_state, encode_state
from py_rwkv.cli import main
from py_rwkv.models.config import Config
from py_rwkv.runtime.session import Session

BYTES = Config("7", 2, 64, 1, 64, 256, 256, {"w": 16, "a": 16, "v": 16, "g": 16})
WEIGHTS = {name: w * np.float32(0.2) for name, w in weights(BYTES).items()}
WEIGHTS["head.weight"][[i for i in range(256) if not 97 <= i <= 122]] = 0  # it speaks in letters from a to z
GREEDY = ("--temperature", "0", "--device", "cpu")
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command beside `m.pth`; what it printed, or its error after `!`."""
    monkeypatch.chdir(tmp_path)
    Path("m.pth").write_bytes(save(WEIGHTS))

    def call(*words: str) -> str:
        code = main(list(words))
        said = capsys.readouterr()
        return f"!{said.err}" if code else said.out

    return call


def loaded(path: str) -> State:
    return decode_state(FileSource(path))


def logits(run: Run, model: str, *more: str) -> np.ndarray:
    run("logits", model, "--tokens", "7,8,9", "--device", "cpu", "--out", "l.npy", *more)
    values: np.ndarray = np.load("l.npy")
    return values


def test_a_text_goes_on_from_a_state(run: Run) -> None:
    whole = run("generate", "m.pth", "-p", "abcd", "-n", "9", *GREEDY)
    first = run("generate", "m.pth", "-p", "abcd", "-n", "4", *GREEDY, "--save-state", "s")
    assert bytes(loaded("s").tokens or ()) == first.strip().encode()  # the last token shown is in it, too
    run("save-state", "m.pth", "-p", "abc", "--device", "cpu", "--out", "abc")
    assert loaded("abc").tokens == tuple(b"abc")
    assert whole[3:] == run("generate", "m.pth", "-p", "d", "-n", "9", *GREEDY, "--state", "abc", "--save-state", "t")
    assert loaded("t").tokens and bytes((loaded("t").tokens or ())[:4]) == b"abcd"
    assert whole.startswith(first.strip())


def test_a_conversation_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    prefill = Session.prefill

    async def counted(self: Session, tokens: Any, *more: Any) -> Any:
        fed.append(len(tokens))
        return await prefill(self, tokens, *more)

    monkeypatch.setattr(Session, "prefill", counted)
    run("convert", "m.pth", "plain", "--quant", "f32", "--template", "plain")
    run("chat", "plain", "-p", "one", "-n", "5", *GREEDY, "--save-state", "s")
    kept = loaded("s")
    assert [m["role"] for m in json.loads(kept.notes["messages"])] == ["user", "assistant"]
    fed.clear()
    run("chat", "plain", "-p", "two", "-n", "5", *GREEDY, "--state", "s", "--save-state", "t")
    after = loaded("t")
    assert [m["content"] for m in json.loads(after.notes["messages"])][::2] == ["one", "two"]
    assert fed[-1] == 4  # "two", and the last token of the answer before it; the rest is in the state
    assert bytes((after.tokens or ())[:3]) == b"one" and len(after.tokens or ()) == 3 + 5 + 3 + 4
    Path("bad").write_bytes(encode_state(State(kept.kind, kept.tensors, (), kept.model_hash, "", {"messages": "[1]"})))
    assert "[bad-state]" in run("chat", "plain", "-p", "two", *GREEDY, "--state", "bad")


def test_a_tuned_state_and_a_default_one(run: Run) -> None:
    rng = np.random.default_rng(0)
    tuned = {f"blocks.{i}.att.time_state": 30 * rng.standard_normal((1, 64, 64)).astype("<f4") for i in range(2)}
    Path("tuned.pth").write_bytes(save(tuned))
    Path("merged.pth").write_bytes(save(WEIGHTS | tuned))
    run("convert", "m.pth", "default", "--quant", "f32", "--state", "tuned.pth")
    plain, changed = logits(run, "m.pth"), logits(run, "default")
    assert np.abs(plain - changed).max() > 0.01 and (changed == logits(run, "merged.pth")).all()
    run("save-state", "m.pth", "--state", "tuned.pth", "--device", "cpu", "--out", "s")
    assert (loaded("s").array("blocks.1.wkv") == tuned["blocks.1.att.time_state"]).all()
    assert "RWKV-7, 2 layers of 64 channels" in run("state", "s")
    assert json.loads(run("state", "s", "--json"))["tokens"] == 0
    texts = [
        run("generate", model, "-p", "a", "-n", "12", *GREEDY, *state)
        for model, state in (("m.pth", ["--state", "tuned.pth"]), ("m.pth", ["--state", "s"]), ("default", []), ("m.pth", []))
    ]
    assert texts[0] == texts[1] == texts[2] != texts[3]


def test_what_does_not_fit(run: Run) -> None:
    run("save-state", "m.pth", "--tokens", "1,2", "--device", "cpu", "--out", "s")
    Path("other.pth").write_bytes(save({name: w * np.float32(1.1) for name, w in WEIGHTS.items()}))
    error = run("generate", "other.pth", "-p", "a", *GREEDY, "--state", "s")
    assert "[state-mismatch]" in error and "the weights" in error
    assert "[state-mismatch]" in run("convert", "other.pth", "out", "--state", "s") and not Path("out").exists()
    assert not run("generate", "other.pth", "-p", "a", "-n", "1", *GREEDY, "--state", "s", "--force-state").startswith("!")
    assert "no state-tuning file" not in error and "RWKV-7" in run("generate", "m.pth", "-p", "a", *GREEDY, "--state", "m.pth")
    assert "[empty-prompt]" in run("save-state", "m.pth", "--device", "cpu", "--out", "x")
    assert "[file-not-found]" in run("state", "absent") and "[bad-state]" in run("state", "m.pth")


def test_lora_and_eps_when_running(run: Run) -> None:
    a = {"blocks.0.att.key.lora_A": np.ones((2, 64), "<f4"), "blocks.0.att.key.lora_B": np.ones((64, 2), "<f4")}
    Path("l.pth").write_bytes(save(a))
    merged = WEIGHTS | {"blocks.0.att.key.weight": WEIGHTS["blocks.0.att.key.weight"] + np.float32(0.5 * 2 / 2)}
    Path("merged.pth").write_bytes(save(merged))
    expected = logits(run, "merged.pth")
    assert np.abs(expected - logits(run, "m.pth")).max() > 0.01
    for option in ("l.pth:0.5", r"l.pth:9,blocks\.0\.=0.5"):
        assert np.abs(logits(run, "m.pth", "--lora", option) - expected).max() < 1e-5
    assert np.abs(logits(run, "m.pth", "--group-norm-eps", "0.01") - logits(run, "m.pth")).max() > 1e-4
    run("convert", "m.pth", "dir", "--lora", "l.pth:0.5", "--quant", "f32")
    assert np.abs(logits(run, "dir") - expected).max() < 1e-5
    for option in (["--lora", "l.pth:1"], ["--group-norm-eps", "1e-5"]):
        error = run("info", "dir", "--device", "cpu", *option)
        assert "[bad-setting]" in error and "converted already" in error
