"""A person's scripts natively: what they register, what processors and samplers do to a text, and how their errors are told."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_session import ToySession

from py_rwkv.chat.openai import parse_request
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback
from py_rwkv.runtime.generate import Delta, generate
from py_rwkv.runtime.processing import Processing, Scores, Text, rescored
from py_rwkv.runtime.sampling import Candidates, Sampler, Sampling
from py_rwkv.runtime.script import Script
from py_rwkv.tokenizer import tokenizer_for

WORLD = tokenizer_for("world")
GREEDY = Sampling(temperature=0, presence_penalty=0, frequency_penalty=0, seed=0)
THREE = """
@rwkv.processor
def without_a(scores, text):
    scores.pop(98, None)

@rwkv.processor
def doubled(scores, text):
    return {token: 2 * score for token, score in scores.items()}

@rwkv.sampler
def worst(scores, text):
    text.memory["calls"] = text.memory.get("calls", 0) + 1
    assert text.memory["calls"] == len(text.tokens) + 1 and 0 <= text.random() < 1
    return min(scores, key=scores.get)

@rwkv.function
async def echo(argument):
    return [argument, rwkv.engine is None]

@rwkv.function
def broken(argument):
    return 1 / argument
"""


def made(text: str) -> Script:
    script = Script()
    script.run(text, "mine.py")
    return script


def write(processing: Processing | None, sampling: Sampling = GREEDY) -> tuple[list[int], list[float]]:
    """Tokens and log-probabilities of ten tokens of the toy model."""

    async def collect() -> list[Any]:
        events = generate(ToySession(), [1, 2], tokenizer=WORLD, sampling=sampling, max_tokens=10, processing=processing)
        return [event async for event in events if isinstance(event, Delta)]

    deltas = asyncio.run(collect())
    return [token for delta in deltas for token in delta.tokens], [p for delta in deltas for p in delta.logprobs]


def test_what_a_script_registers_and_what_answers_get_of_it() -> None:
    script = made(THREE)
    assert script.names() == {"hooks": 0, "processors": ["without_a", "doubled"], "samplers": ["worst"], "functions": ["echo", "broken"]}
    assert list(script.processing(None, "").processors) == ["without_a", "doubled"]
    assert list(script.processing(["doubled"], "default").processors) == ["doubled"]
    assert (found := script.processing([], "").sampler) and found[0] == "worst"
    assert not script.processing([], "default") and not Script().processing(None, "")
    for processors, sampler, kind in (["nothing"], "", "processor"), ([], "nothing", "sampler"):
        with pytest.raises(RwkvError, match=f"registered a {kind} named nothing"):
            script.processing(processors, sampler)
    assert asyncio.run(script.call("echo", {"a": 1})) == [{"a": 1}, True]
    with pytest.raises(RwkvError, match="function named missing; there are: echo, broken"):
        asyncio.run(script.call("missing"))


def test_nothing_registered_changes_nothing() -> None:
    assert write(Script().processing(None, "")) == write(None)
    sampled = Sampling(temperature=1.5, top_p=0.9, seed=7)
    same = made("@rwkv.processor\ndef same(scores, text): pass").processing(None, "")
    (tokens, found), (expected, logprobs) = write(same, sampled), write(None, sampled)
    assert tokens == expected and found == pytest.approx(logprobs)


def test_processors_and_samplers_choose() -> None:
    plain, logprobs = write(None)
    banned = plain[0]
    script = made(f"@rwkv.processor\ndef ban(scores, text):\n    del scores[{banned}]")
    tokens, other = write(script.processing(None, ""))
    assert banned in plain and banned not in tokens and other[0] < logprobs[0]  # still the model's own
    worst, _ = write(made(THREE).processing(["doubled"], ""))
    first = ToySession()
    first.tokens, first.state = [], 0
    asyncio.run(first.prefill([1, 2], lambda: False))
    candidates = first.candidates()
    assert worst[0] == candidates.ids[list(candidates.logits).index(min(candidates.logits))]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=20), st.integers(0, 1000), st.floats(-20, 20))
def test_the_sum_over_the_vocabulary_follows_the_scores(logits: list[float], beyond: int, change: float) -> None:
    """log Σ exp as if the whole vocabulary had been summed again: candidates first, then `beyond` tokens that are less likely."""
    logits = sorted(logits, reverse=True)
    low = logits[-1] - 1
    total = math.log(sum(map(math.exp, logits)) + beyond * math.exp(low))
    scores: Scores = dict(enumerate(logits))
    scores[1] += change
    del scores[0]
    found = rescored(Candidates(range(len(logits)), logits, total), scores)
    expected = math.log(sum(map(math.exp, scores.values())) + beyond * math.exp(low))
    lost = math.exp(logits[0] - expected) * 1e-14  # what a sum of doubles cannot know of the rest
    assert found.logsumexp == pytest.approx(expected, abs=1e-6 + 10 * lost)
    assert list(found.logits) == sorted(found.logits, reverse=True) and set(found.ids) == set(scores)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("return {token: float('nan') for token in scores}", "bad-hook-value", "nan"),
        ("return scores | {97: 1.0}", "bad-hook-value", "97: 1.0"),
        ("return {'a': 1.0}", "bad-hook-value", "'a'"),
        ("return 5", "bad-hook-value", "a number for each token"),
        ("scores.clear()", "no-candidates", ""),
        ("scores.update({token: float('-inf') for token in scores})", "no-candidates", ""),
        ("return text.nothing", "script-failed", 'File "mine.py", line 3, in wrong\n    return text.nothing'),
    ],
)
def test_a_wrong_processor(body: str, code: str, words: str) -> None:
    script = made(f"@rwkv.processor\ndef wrong(scores, text):\n    {body}")
    with pytest.raises(RwkvError) as caught:
        write(script.processing(None, ""))
    assert caught.value.code == code and words in str(caught.value)


def test_a_sampler_that_chooses_what_it_was_not_given() -> None:
    with pytest.raises(RwkvError, match=r"sampler wrong returned 'x'"):
        write(made("@rwkv.sampler\ndef wrong(scores, text): return 'x'").processing(None, ""))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nraise ValueError('no such thing')", 'File "mine.py", line 2, in <module>\n    raise ValueError'),
        ("def (", 'File "mine.py", line 1\n    def ('),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("rwkv.hook(len)", "takes an Insert or a Callback"),
        ("def default(s, t): return 0\nrwkv.sampler(default)", "cannot be named default"),
    ],
)
def test_a_broken_script_counts_for_nothing(text: str, words: str) -> None:
    script = made(THREE)
    before = script.names()
    with pytest.raises(RwkvError) as caught:
        script.run(f"rwkv.processor(lambda s, t: None)\n{text}" if "line" not in words else text, "mine.py")
    assert caught.value.code == "script-failed" and words in caught.value.message and "runtime/script.py" not in caught.value.message
    assert script.names() == before and asyncio.run(script.call("echo")) == [None, True]


def test_requests_name_what_takes_part() -> None:
    defaults = {"template": "world"}
    plain, named = (parse_request({"prompt": "a", **more}, defaults) for more in ({}, {"processors": ["b"], "sampler": "default"}))
    assert (plain.processors, plain.sampler) == (None, "") and (named.processors, named.sampler) == (("b",), "default")
    for wrong in ({"processors": "b"}, {"processors": [1]}, {"sampler": 5}):
        with pytest.raises(RwkvError, match=f"{next(iter(wrong))} must be"):
            parse_request({"prompt": "a", **wrong}, defaults)


def test_hooks_come_with_the_model() -> None:
    text = "from py_rwkv.hooks import Callback\nrwkv.hook(Callback('head', lambda value, frame: value.wrong))"
    script = made(text)
    [hook] = script.hooks
    assert isinstance(hook, Callback) and hook.pattern == "head"
    with pytest.raises(RwkvError, match=r"the hook at head failed: +File \"mine.py\", line 2"):
        hook.run(5, None)  # type: ignore[arg-type]
    script.engine = object()  # type: ignore[assignment]
    with pytest.raises(RwkvError) as caught:
        script.run(text, "mine.py")
    assert caught.value.code == "hook-too-late"


def test_a_text_tells_what_was_written() -> None:
    text = Text((1, 2), WORLD, seed=3)
    before = text.random()
    text.tokens += WORLD.encode("Né")
    assert text.text == "Né" and text.piece(text.tokens[0]) == "N" and text.random() != before
    assert Processing().choose(Candidates([98], [0.0], 0.0), Sampler(GREEDY), text).token == text.tokens[-1] == 98
