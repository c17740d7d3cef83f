"""LAMBADA and perplexity: the official package's figures, and that batches change nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.cases import CASES
from golden.random_model import make
from make_pth import save
from models import engine_of, finished

from py_rwkv.cli import main
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.native import open_model
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.evaluate import ROWS, Example, Total, evaluate, lambada, log_softmax_at, windows
from py_rwkv.tokenizer import tokenizer_for

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "evaluation.json").read_text("utf-8"))
BYTES = tokenizer_for("bytes")


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The random byte-level model of tests/golden/two_heads in f32."""
    return finished(engine_of(make(CASES["two_heads"].shape), NumpyDevice(), slots=4))


def passages(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def scored(engine: Engine, examples: list[Example], sessions: int) -> tuple[Total, list[float]]:
    seen: list[float] = []
    total = finished(evaluate(engine, examples, sessions=sessions, seen=lambda t: seen.append(t.logprob)))
    return total, seen


@pytest.mark.parametrize("sessions", [1, 3])
def test_the_last_words_are_as_likely_as_the_official_package_says(engine: Engine, sessions: int) -> None:
    golden = GOLDEN["two_heads"]
    total, seen = scored(engine, list(lambada(passages(golden["passages"]), BYTES)), sessions)
    assert np.allclose(seen, np.cumsum([logprob for logprob, _ in golden["scores"]]), atol=1e-3)
    assert (total.examples, total.correct) == (5, 0)
    assert abs(math.log(total.perplexity) + np.mean([logprob for logprob, _ in golden["scores"]])) < 1e-3


def test_perplexity_is_that_of_the_official_package(engine: Engine) -> None:
    golden = GOLDEN["two_heads"]
    tokens = BYTES.encode(golden["text"])
    assert len(tokens) > 3 * ROWS  # so that logits come back in several parts
    total, _ = scored(engine, list(windows(tokens, 1024, 1024, [])), 1)
    assert (total.tokens, total.examples) == (len(tokens) - 1, 1)
    assert abs(total.logprob - golden["logprob"]) < 1e-2
    assert abs(total.token_perplexity - math.exp(-golden["logprob"] / total.tokens)) < 0.02
    assert total.bits_per_byte(len(tokens) - 1) == pytest.approx(-golden["logprob"] / math.log(2) / (len(tokens) - 1))


def test_the_demo_predicts_what_its_f16_weights_do_in_the_official_package() -> None:
    golden = GOLDEN["demo"]
    demo = finished(open_model("demo", "cpu", slots=3))
    examples = list(lambada(passages(golden["passages"]), demo.tokenizer))
    assert all(example.context[0] == 0 for example in examples)  # the token that ends a document stands before every passage
    total, seen = scored(demo, examples, 3)
    logprobs = np.diff(seen, prepend=0)
    assert [bool(p > math.log(0.5)) for p in logprobs] == [greedy for _, greedy in golden["scores"]]
    assert total.correct == 5 and total.accuracy == 5 / 6
    right = [logprob for logprob, greedy in golden["scores"] if greedy]
    assert abs(math.exp(-logprobs[:5].mean()) - math.exp(-np.mean(right))) < 0.02


def test_windows_predict_every_token_once() -> None:
    text = list(range(100, 150))
    for context, stride, start in ((16, 16, [0]), (16, 5, [0]), (50, 50, []), (7, 3, []), (1, 1, [0]), (1, 1, [])):
        found: list[int] = []
        for head, target in windows(text, context, stride, start):
            assert head and len(head) + len(target) <= context + len(start)
            assert [*head[len(start) :], *target] == text[
                (first := target[0] - 100 - len(head) + len(start)) : first + len(head) - len(start) + len(target)
            ]
            found += target
        if start or stride < context:
            assert found == text[0 if start else 1 :]
        else:  # without a token before it, nothing predicts a window's first one
            assert found == [t for i, t in enumerate(text) if i % context]


def test_log_softmax_and_ties() -> None:
    logits = np.array([[1e4, 1e4 - 1, 0], [-3, 2, 2]], np.float32)
    total, greedy = log_softmax_at(logits, [0, 1])
    assert total == pytest.approx(-math.log(1 + math.exp(-1)) - math.log(2 + math.exp(-5)))
    assert greedy and not log_softmax_at(logits, [0, 2])[1]
    with pytest.raises(RwkvError, match="not-a-number"):
        log_softmax_at(np.array([[1, np.nan]], np.float32), [0])


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\n\n",
        b"hello",
        b"[1]",
        b'{"text": 5}',
        b'{"text": "one"}',
        b'{"text": ""}',
        b'{"text": "a b"}\n{"txt": "a b"}',
        b"[" * 10_000,
        b"\xff",
    ],
)
def test_a_wrong_test_set_names_its_line(file: bytes) -> None:
    with pytest.raises(RwkvError, match=r"^Line [12] of the test set") as e:
        list(lambada(file, BYTES))
    assert e.value.code == "bad-test-set"


def test_an_error_ends_all_sessions_and_gives_their_slots_back(engine: Engine) -> None:
    examples = [Example([1, 2], [3]), Example([1, 2], [999]), *[Example([1] * 50, [3, 4])] * 6]
    with pytest.raises(RwkvError, match="bad-token"):
        finished(evaluate(engine, examples, sessions=3))
    assert finished(evaluate(engine, examples[:1] * 4, sessions=4)).examples == 4


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    status = main(["eval", *map(str, words), "--device", "cpu"])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_commands(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = GOLDEN["two_heads"]
    model, test_set, text = tmp_path / "m.pth", tmp_path / "lambada_test.jsonl", tmp_path / "text.txt"
    model.write_bytes(save(make(CASES["two_heads"].shape)))
    test_set.write_bytes(passages(golden["passages"]))
    text.write_text(golden["text"], "utf-8")
    status, out, _ = run(capsys, "lambada", model, "--file", test_set, "--limit", "2", "--quant", "f32")
    perplexity = math.exp(-np.mean([logprob for logprob, _ in golden["scores"][:2]]))
    number, _, shown, _, accuracy = out.splitlines()[0].split()
    assert (status, number, accuracy) == (0, "2", "0.0") and float(shown) == pytest.approx(perplexity, rel=1e-3)
    assert "tokens/s" in out.splitlines()[1]
    status, out, _ = run(capsys, "perplexity", model, text, "--json", "--quant", "f32")
    found = json.loads(out)
    assert (status, found["eval"], found["bytes"], found["tokens"]) == (
        0,
        "perplexity",
        len(golden["text"].encode()),
        len(golden["text"].encode()) - 1,
    )
    assert found["perplexity"] == pytest.approx(2 ** (found["bits_per_byte"] * found["bytes"] / found["tokens"]))
    assert found["perplexity"] == pytest.approx(math.exp(-golden["logprob"] / found["tokens"]), abs=0.02)
    status, out, _ = run(capsys, "perplexity", model, text, "--context", "60", "--stride", "30")
    assert status == 0 and f"{found['tokens']} tokens, {found['bytes']} bytes: ppl" in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["lambada", "absent", "--file", "absent"], "file-not-found"),
        (["lambada", "absent", "--file", "FILE", "--limit", "0"], "bad-setting"),
        (["lambada", "absent", "--file", "FILE", "--batch", "0"], "bad-setting"),
        (["lambada", "absent", "--file", "FILE", "--start", "x"], "bad-setting"),
        (["perplexity", "absent", "FILE", "--context", "4", "--stride", "5"], "bad-setting"),
        (["perplexity", "absent", "FILE", "--context", "0"], "bad-setting"),
        (["perplexity", "absent", "BINARY"], "bad-setting"),
    ],
)
def test_bad_settings_are_found_before_a_model_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: str
) -> None:
    (tmp_path / "file").write_bytes(passages(["a b"]))
    (tmp_path / "binary").write_bytes(b"a\xff")
    status, _, err = run(capsys, *[{"FILE": tmp_path / "file", "BINARY": tmp_path / "binary"}.get(word, word) for word in words])
    assert status == 1 and f"[{code}]" in err
