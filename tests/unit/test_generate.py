"""The generation loop on a toy model: text, stops, cancelling, seeds, and what is in the state afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_session import ScriptSession, ToySession

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Delta, Finish, generate
from py_rwkv.runtime.sampling import Sampling
from py_rwkv.runtime.stops import StopMatcher
from py_rwkv.tokenizer import tokenizer_for

WORLD = tokenizer_for("world")
GREEDY = Sampling(temperature=0, presence_penalty=0, frequency_penalty=0)


def run(session: ToySession, prompt: Sequence[int] = (1, 2, 3), **options: Any) -> tuple[list[Delta], Finish]:
    """All events of a generation."""

    async def collect() -> list[Any]:
        settings = {"tokenizer": WORLD, "sampling": GREEDY, "max_tokens": 50, **options}
        return [event async for event in generate(session, prompt, **settings)]

    *deltas, finish = asyncio.run(collect())
    assert all(isinstance(delta, Delta) for delta in deltas)
    assert isinstance(finish, Finish)
    return deltas, finish


def text(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def test_a_stop_token_ends_it_and_stays_out_of_the_state() -> None:
    answer = WORLD.encode(" Oslo is in Norway.")
    session = ScriptSession([*answer, 0, 5])
    deltas, finish = run(session)
    assert text(deltas) == " Oslo is in Norway."
    assert [token for delta in deltas for token in delta.tokens] == [*answer, 0]
    assert all(len(delta.tokens) == len(delta.logprobs) == 1 and delta.logprobs[0] < 0 for delta in deltas)
    assert (finish.reason, finish.stop, finish.pending_token) == ("stop", None, 0)
    assert finish.fed_tokens == (1, 2, 3, *answer) == tuple(session.tokens)
    assert (finish.prompt_tokens, finish.completion_tokens) == (3, len(answer) + 1)
    assert finish.prefill_seconds > 0
    assert finish.decode_seconds > 0


def test_a_stop_string_inside_a_token_ends_it_before_the_token() -> None:
    answer = WORLD.encode(" Oslo.\n\n  ")
    assert WORLD.token_bytes(answer[-1]) == b"\n\n  "
    session = ScriptSession([*answer, 5])
    deltas, finish = run(session, stops=["\n\n"])
    assert text(deltas) == " Oslo."
    assert (finish.reason, finish.stop, finish.pending_token) == ("stop", "\n\n", answer[-1])
    assert session.tokens == [1, 2, 3, *answer[:-1]]


def test_a_stop_string_across_tokens_is_held_back_and_never_shown() -> None:
    script = [token for piece in ("one\n", "\n", "User", " two\n\n", "User", ":", "more") for token in WORLD.encode(piece)]
    deltas, finish = run(ScriptSession(script), stops=["\n\nUser:"])
    assert text(deltas) == "one\n\nUser two"
    assert finish.stop == "\n\nUser:"


def test_length_flushes_what_was_held_back_and_half_a_character() -> None:
    session = ScriptSession([*WORLD.encode("a\n"), 1 + 0xF0, 1 + 0x9F])
    deltas, finish = run(session, stops=["\n\n"], max_tokens=4)
    assert text(deltas) == "a\n\ufffd"
    assert (finish.reason, finish.completion_tokens, finish.pending_token) == ("length", 4, 1 + 0x9F)
    assert session.tokens[-1] == 1 + 0xF0


def test_characters_split_across_tokens_appear_whole() -> None:
    script = [1 + byte for byte in "你好🙂é".encode()]
    deltas, _ = run(ScriptSession([*script, 0]))
    assert [delta.text for delta in deltas if delta.text] == ["你", "好", "🙂", "é"]


def after(calls: int) -> Callable[[], bool]:
    """A cancel that turns true at its n-th call and stays so."""
    count = iter(range(1 << 30))
    return lambda: next(count) >= calls


def test_cancel_in_prefill_says_how_far_it_came() -> None:
    session = ToySession(chunk=4)
    deltas, finish = run(session, range(1, 11), cancel=after(3))  # asked once before the prefill, then before each chunk
    assert deltas == []
    assert (finish.reason, finish.completion_tokens, finish.pending_token) == ("cancelled", 0, None)
    assert finish.fed_tokens == tuple(range(1, 9)) == tuple(session.tokens)
    assert finish.decode_seconds == 0


def test_cancel_before_anything_leaves_the_state_alone() -> None:
    session = ToySession()
    _, finish = run(session, cancel=lambda: True)
    assert (finish.reason, finish.fed_tokens, session.tokens) == ("cancelled", (), [])


def test_cancel_while_decoding_keeps_state_and_text_together() -> None:
    session = ScriptSession(WORLD.encode("one two three four five"))
    deltas, finish = run(session, cancel=after(4))
    shown = WORLD.encode(text(deltas))
    assert finish.reason == "cancelled"
    assert len(shown) == finish.completion_tokens == 2
    assert (finish.pending_token, session.tokens) == (shown[-1], [1, 2, 3, *shown[:-1]])


def test_generation_can_go_on_from_the_state() -> None:
    whole, one, two = ToySession(), ToySession(), ToySession()
    deltas, finish = run(whole, max_tokens=20)
    first, cut = run(one, max_tokens=8)
    assert cut.pending_token is not None
    rest, _ = run(one, [cut.pending_token], max_tokens=12)
    assert [t for d in first + rest for t in d.tokens] == [t for d in deltas for t in d.tokens]
    assert one.tokens == whole.tokens == list(finish.fed_tokens)
    run(two, [*cut.fed_tokens, cut.pending_token], max_tokens=12)
    assert two.tokens == one.tokens


def test_the_seed_gives_the_text() -> None:
    def tokens(**options: Any) -> tuple[list[int], int]:
        deltas, finish = run(ToySession(), sampling=Sampling(temperature=1.5, top_p=0.95, **options))
        return [token for delta in deltas for token in delta.tokens], finish.seed

    assert tokens(seed=11) == tokens(seed=11)
    assert tokens(seed=11)[0] != tokens(seed=12)[0]
    chosen = tokens()
    assert tokens(seed=chosen[1]) == chosen


def test_an_empty_prompt_and_a_broken_session_are_errors() -> None:
    with pytest.raises(RwkvError) as e:
        run(ToySession(), [])
    assert e.value.code == "empty-prompt"
    with pytest.raises(RwkvError) as e:
        run(ToySession(fail_at=6))
    assert e.value.code == "internal"


@given(
    st.text("ab\n", max_size=30), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=4), st.lists(st.integers(1, 5), max_size=30)
)
def test_stops_do_not_depend_on_the_cut(whole: str, stops: list[str], sizes: list[int]) -> None:
    matcher, out, at = StopMatcher(stops), "", 0
    for size in [*sizes, len(whole)]:
        safe, hit = matcher.feed(whole[at : at + size])
        out, at = out + safe, at + size
        held = whole[len(out) : at]
        assert hit or not held or any(stop.startswith(held) for stop in stops)  # nothing is held back without reason
    out += matcher.flush()
    ends = [(whole.find(stop) + len(stop), whole.find(stop), stop) for stop in stops if stop in whole]
    assert (out, matcher.hit) == ((whole[: min(ends)[1]], min(ends)[2]) if ends else (whole, None))
    assert not ends or matcher.feed("more") == ("", matcher.hit)
