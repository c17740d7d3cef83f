"""A generation under a grammar: where it ends, what the session is told, thoughts, continued answers, and stop strings. Without a device."""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from json_checks import parse, valid
from writing import Few, allowed

from py_rwkv.chat.framing import grammar_of_answer
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Delta, Finish, generate
from py_rwkv.runtime.sampling import Candidates, Sampling
from py_rwkv.runtime.stops import StopMatcher
from py_rwkv.structured import choice, json_schema, literal, regex
from py_rwkv.tokenizer import BytesTokenizer

FEW = Few()
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "n": {"type": "integer", "maximum": 99}},
    "required": ["name", "n"],
    "additionalProperties": False,
}


class RandomSession:
    """Logits are any numbers, the same for the same tokens; what the mask forbids is never a candidate."""

    def __init__(self, seed: int = 0, likes: str = "", vocab: int = 0) -> None:
        self.tokens: list[int] = []
        self.masks: list[bytes] = []
        self.seed, self.vocab = seed, vocab or FEW.vocab_limit
        self.likes = [1 + byte for byte in likes.encode()]  # nearly certain of these, one after the other

    def _logits(self) -> list[float]:
        random = Random(f"{self.seed} {self.tokens}")
        logits = [random.gauss(0, 2) for _ in range(self.vocab)]
        if self.likes:
            logits[self.likes[0]] = 50.0
        return logits

    def _candidates(self, mask: bytes) -> Candidates:
        logits, tokens = self._logits(), allowed(mask) if mask else list(range(self.vocab))
        if self.likes and self.likes[0] in tokens:
            self.likes.pop(0)
        self.masks.append(mask)
        best = sorted(tokens, key=lambda t: (-logits[t], t))[:256]
        return Candidates(best, [logits[t] for t in best], math.log(sum(math.exp(logits[t]) for t in tokens)))

    async def prefill(self, tokens: Sequence[int], cancel: Callable[[], bool], mask: bytes = b"") -> Candidates:
        self.tokens += tokens
        return self._candidates(mask)

    async def step(self, token: int, mask: bytes = b"") -> Candidates:
        self.tokens.append(token)
        return self._candidates(mask)

    async def feed(self, tokens: Sequence[int], logits: str, cancel: Callable[[], bool]) -> bytes:
        self.tokens += tokens
        return array("f", self._logits()).tobytes()

    def drawing(self, *_: object) -> bool:
        raise AssertionError("a grammar is not known to the device")


def run(session: Any, **options: Any) -> tuple[str, Finish, list[Delta]]:
    async def collect() -> list[Any]:
        base = {"tokenizer": FEW, "sampling": Sampling(seed=3, top_p=1.0), "max_tokens": 200}
        return [event async for event in generate(session, [5, 6, 7], **(base | options))]

    *deltas, finish = asyncio.run(collect())
    return "".join(d.text for d in deltas), finish, deltas


@pytest.mark.parametrize("seed", range(20))
def test_it_ends_when_the_grammar_does(seed: int) -> None:
    session = RandomSession(seed)
    text, finish, deltas = run(session, grammar=json_schema(SCHEMA), sampling=Sampling(seed=seed, top_p=1.0, temperature=2))
    assert valid(parse(text), SCHEMA)
    assert finish.reason == "stop" and finish.completion_tokens == len(session.masks)
    assert all(session.masks) and finish.pending_token is not None
    assert all(p <= 1e-9 for d in deltas for p in d.logprobs)  # of what is allowed, so a forced token has 0
    assert any(abs(p) < 1e-9 for d in deltas for p in d.logprobs)


def test_max_tokens_end_it_earlier() -> None:
    text, finish, _ = run(RandomSession(), grammar=json_schema(SCHEMA), max_tokens=3)
    assert finish.reason == "length" and json_schema(SCHEMA).begins(text)


def test_the_last_token_allowed_may_also_be_the_last_wanted() -> None:
    text, finish, _ = run(RandomSession(likes="no"), grammar=choice(["no"]), max_tokens=2)
    assert (text, finish.reason) == ("no", "stop")


def test_only_the_end_of_the_prompt_has_a_mask_and_its_candidates_are_nobody_elses() -> None:
    session, told = RandomSession(), []

    async def reached(candidates: Candidates) -> None:
        told.append((len(session.tokens), len(candidates.ids)))

    run(session, grammar=json_schema(SCHEMA), marks=[2], reached=reached)
    assert session.masks[0] == b"" and all(session.masks[1:])
    assert told == [(2, 256)]


def test_candidates_of_before_the_grammar_are_not_taken() -> None:
    async def first() -> None:
        kept = Candidates([1], [0.0], 0.0)
        options = {"tokenizer": FEW, "sampling": Sampling(), "max_tokens": 5, "candidates": kept, "grammar": literal("x")}
        await anext(generate(RandomSession(), [], **options))  # type: ignore[arg-type]

    with pytest.raises(RwkvError, match="empty"):
        asyncio.run(first())


def test_a_stop_string_counts_only_where_the_text_may_end() -> None:
    quoted = json_schema({"type": "string"})
    assert run(RandomSession(likes='"a\\n\\nb"'), grammar=quoted, stops=["\\n", "b"])[0] == '"a\\n\\nb"'
    free = regex("x[\\s\\S]*")
    text, finish, _ = run(RandomSession(likes="xyz\n\nUser: more"), grammar=free, stops=["\n\nUser:"])
    assert (text, finish.reason, finish.stop) == ("xyz", "stop", "\n\nUser:")


def test_a_model_may_mean_the_end_by_a_stop_string() -> None:
    """`\\d+` could go on for ever."""
    text, finish, _ = run(RandomSession(likes="42\n\n"), grammar=regex(r"\d+"), stops=["\n\n"])
    assert (text, finish.reason, finish.stop) == ("42", "stop", None)


def test_a_stop_token_ends_it_where_it_may_end() -> None:
    session = RandomSession(likes="42")
    session.likes.append(0)
    assert run(session, grammar=regex(r"\d+"))[0] == "42"
    assert [bool(mask[0] & 1) for mask in session.masks] == [False, True, True]


def test_all_logits_and_masked_candidates_give_the_same_text() -> None:
    """A positive bias needs more than the best 256."""
    plain = run(RandomSession(4), grammar=json_schema(SCHEMA), sampling=Sampling(seed=9))[0]
    with_bias = run(RandomSession(4), grammar=json_schema(SCHEMA), sampling=Sampling(seed=9, logit_bias=((FEW.vocab_limit - 1, 1e-9),)))[0]
    assert plain == with_bias
    favoured = Sampling(seed=9, logit_bias=((1 + ord("9"), 90.0), (1 + ord("x"), 80.0)))
    found = json.loads(run(RandomSession(4), grammar=json_schema(SCHEMA), sampling=favoured)[0])
    assert found["name"].endswith("9" * 7) and found["n"] == 99


def test_nothing_left_to_choose_is_an_error_of_its_own() -> None:
    with pytest.raises(RwkvError, match="token") as caught:
        run(RandomSession(), grammar=literal("x"), sampling=Sampling(ban=(1 + ord("x"),)))
    assert caught.value.code == "no-candidates"


def test_logprobs_and_candidates_are_those_of_allowed_tokens() -> None:
    _, _, deltas = run(RandomSession(), grammar=choice(["yes", "no"]), inspect=True)
    assert deltas[0].candidates is not None
    assert {FEW.token_bytes(t) for t in deltas[0].candidates.ids} == {b"y", b"n"}


def test_a_tokenizer_of_bytes() -> None:
    tokenizer = BytesTokenizer()
    text, finish, _ = run(RandomSession(vocab=256), tokenizer=tokenizer, stop_tokens=(), grammar=json_schema(SCHEMA))
    assert finish.reason == "stop" and valid(parse(text), SCHEMA)


# ── the answer of a template ──


@pytest.mark.parametrize(
    ("before", "strip", "text"),
    [
        ("", False, "yes"),
        ("", True, " yes"),
        ("", True, "yes"),
        (" <think", True, ">well,\nwell</think>\nyes"),
        (" <think>hm", True, " hm</think>yes"),
        (" ye", True, "s"),
    ],
)
def test_where_the_grammar_begins(before: str, strip: bool, text: str) -> None:
    """Behind a template's space, behind a thought, and in the middle of an answer that is continued."""
    grammar, stripped = grammar_of_answer(choice(["yes", "no"]), before, strip)
    assert stripped == strip
    found, finish, _ = run(RandomSession(likes=text), grammar=grammar, begun=before)
    assert (found, finish.reason) == (text, "stop")


def test_white_space_that_the_grammar_wants_stays() -> None:
    grammar, strip = grammar_of_answer(choice([" yes"]), "", True)
    assert not strip and grammar.accepts(" yes") and not grammar.accepts("  yes")


def test_an_answer_that_does_not_begin_as_it_should_cannot_be_continued() -> None:
    with pytest.raises(RwkvError) as caught:
        grammar_of_answer(choice(["yes", "no"]), " maybe", True)
    assert caught.value.code == "bad-setting"


def test_stop_strings_that_do_not_count_are_text() -> None:
    """However it is cut: the one that counts is found behind those that do not."""
    whole = "ab--cd--ef--gh"
    for cut in range(1, 6):
        matcher = StopMatcher(["--"], lambda before: before.endswith("ef"))
        shown = "".join(matcher.feed(whole[i : i + cut])[0] for i in range(0, len(whole), cut))
        assert (shown, matcher.hit) == ("ab--cd--ef", "--")
