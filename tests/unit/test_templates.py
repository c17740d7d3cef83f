"""Templates that people write, thinking modes, answers that go on, and telling a thought from an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_rwkv.chat.templates import G1, G1H, TEMPLATES, WORLD, Message, template_for
from py_rwkv.chat.thinking import Thoughts
from py_rwkv.checkpoint.convert import template_of
from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer import tokenizer_for

ASK = Message("user", "hi")
CHATML = {
    "system": "<s>{}</s>",
    "user": "<u>{}</u>",
    "cue": "<a>",
    "answer": "{}</a>",
    "stops": ["</a>"],
    "thinking": {"fast": "<think></think", "deep": {"user": " (think)", "cue": "<think"}},
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_survives_json(name: str) -> None:
    assert template_for(json.loads(json.dumps(TEMPLATES[name].to_json()))) == TEMPLATES[name]


def test_a_template_that_somebody_wrote() -> None:
    made = template_for(CHATML)
    turns = [Message("system", "a {0}\n\nb"), ASK, Message("assistant", " x {} "), ASK]
    assert made.pieces(turns) == ["<s>a {0}\n\nb</s>", "<u>hi</u><a>", "x {}</a>", "<u>hi</u><a>"]
    assert made.pieces([ASK], "deep") == ["<u>hi (think)</u><a>", "<think"]
    assert made.pieces([ASK], "fast")[1] == "<think></think"
    assert (made.name, made.stops, made.thinks, made.thinking["none"].cue) == ("custom", ("</a>",), True, "")
    with pytest.raises(RwkvError) as e:
        made.pieces([ASK], "short")
    assert e.value.details["expected"] == "none or fast or deep"


@pytest.mark.parametrize(
    ("change", "code", "name"),
    [
        ({"user": "no place"}, "bad-setting", "template.user"),
        ({"answer": "{}{}"}, "bad-setting", "template.answer"),
        ({"cue": 3}, "bad-setting", "template.cue"),
        ({"preamble": "x" * 20_001}, "bad-setting", "template.preamble"),
        ({"stops": [""]}, "bad-setting", "template.stops"),
        ({"clean": "hard"}, "bad-setting", "template.clean"),
        ({"thinking": {"a": 3}}, "bad-setting", "template.thinking.a"),
        ({"thinking": {"a": {"why": ""}}}, "bad-setting", "template.thinking.a"),
        ({"thinking": {str(i): "" for i in range(9)}}, "bad-setting", "template.thinking"),
        ({"colour": "red"}, "unknown-setting", "template.colour"),
    ],
    ids=str,
)
def test_a_wrong_template_names_the_field(change: dict[str, Any], code: str, name: str) -> None:
    with pytest.raises(RwkvError) as e:
        template_for(CHATML | change)
    assert (e.value.code, e.value.details["name"]) == (code, name)


def test_g1_asks_for_a_thought_behind_the_cue() -> None:
    assert G1.pieces([ASK], "short") == ["User: hi (think a bit)\n\nAssistant:", " <think"]
    assert G1.pieces([ASK], "long") == ["User: hi (think a lot)\n\nAssistant:", " <think"]
    world = tokenizer_for("world")
    assert [t for p in (":", " <think", "></think") for t in world.encode(p)] == world.encode(
        ": <think></think"
    )  # cut where the tokens are cut


def test_a_thought_leaves_the_history_unless_a_message_brings_it() -> None:
    answer = Message("assistant", "Yes.", "\nhm\n", "short")
    dropped = G1.layout([ASK, answer._replace(reasoning=None), ASK], "short")
    assert dropped.pieces == ["User: hi (think a bit)\n\nAssistant:", " Yes.\n\n", "User: hi (think a bit)\n\nAssistant:", " <think"]
    assert (dropped.head, dropped.cue, dropped.before) == (0, 3, " <think")
    assert G1.pieces([ASK, answer, ASK])[:3] == ["User: hi (think a bit)\n\nAssistant:", " <think", ">\nhm\n</think>\nYes.\n\n"]
    fast = answer._replace(reasoning="", thinking="none")
    assert G1.pieces([ASK, fast, ASK])[:3] == ["User: hi\n\nAssistant:", " <think></think", ">\nYes.\n\n"]


def test_later_g1_have_signs_of_their_own() -> None:
    told = [Message("system", "Be\n\nbrief."), ASK, Message("assistant", "Yes.\n\nNo.", None), ASK]
    begin = ["System✿Be\nbrief.✿\n", "User✿hi✿\nBot✿", "Yes.\n\nNo.✿\n", "User✿hi✿\nBot✿"]
    assert G1H.pieces(told) == [*begin, "<think></think"] and G1H.pieces(told, "long") == [*begin, "<think"]
    world = tokenizer_for("world")
    assert world.encode("✿") == [10060]
    for whole in (["✿\n", "Bot✿", "<think></think", ">\n"], ["✿\n", "User✿", "hi"], [".", "✿", "\n"]):
        assert [t for piece in whole for t in world.encode(piece)] == world.encode("".join(whole))


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("rwkv7-g1d-0.1b-20260129-ctx8192.pth", "g1"),
        ("rwkv7-g1-1.5b-20250429-ctx4096", "g1"),
        ("RWKV7-G0a3-7.2b", "g1"),
        ("rwkv7-g1h-1.5b-20260710-ctx10240.pth", "g1h"),
        ("rwkv7a-g1j-2.9b-20260831-ctx16384.st", "g1h"),
        ("rwkv7-g2-1.5b", "g1h"),
        ("RWKV-x070-World-0.4B-v2.9-20250107-ctx4096.pth", "world"),
    ],
)
def test_a_checkpoint_s_name_tells_its_template(name: str, template: str) -> None:
    assert template_of(name) == template


@pytest.mark.parametrize(
    ("answer", "thinking", "rest"),
    [
        (Message("assistant", "Os\n lo "), "none", [" Os\n lo "]),
        (Message("assistant", "Os\ufffd"), "none", [" Os"]),  # the character was cut off, and the model writes all of it
        (Message("assistant", ""), "none", []),
        (Message("assistant", ""), "long", [" <think"]),
        (Message("assistant", "", "\nLet me"), "long", [" <think", ">\nLet me"]),
        (Message("assistant", "So", "a"), "long", [" <think", ">a</think>\nSo"]),
    ],
)
def test_an_answer_goes_on_as_it_stands(answer: Message, thinking: str, rest: list[str]) -> None:
    layout = G1.layout([ASK, answer], thinking, "open")
    assert layout.pieces[1:] == rest
    assert (layout.cue, layout.before) == (1, "".join(rest))
    assert layout.pieces[0] == G1.pieces([ASK], thinking)[0]


def test_what_is_read_and_not_answered() -> None:
    assert WORLD.pieces([ASK, Message("assistant", "x")], end="read") == ["User: hi\n\nAssistant:", " x\n\n"]
    assert WORLD.pieces([ASK], end="read") == WORLD.pieces([ASK])
    for end, turns in (("open", [ASK]), ("cue", [ASK, Message("assistant", "x")])):
        with pytest.raises(RwkvError) as e:
            WORLD.pieces(turns, end=end)  # type: ignore[arg-type]
        assert e.value.code == "bad-setting"


def test_where_states_are_worth_keeping() -> None:
    system = Message("system", "s")
    assert WORLD.layout([system, system, ASK])[1:3] == (2, 3)
    assert TEMPLATES["raven-instruct"].layout([ASK])[1:3] == (1, 2)
    assert WORLD.layout([ASK, system, ASK])[1:3] == (0, 3)


CASES = [
    # before (the prompt's part of the answer), then what the model writes: (thought, answer), or None where there is no thought
    (" <think", ">\nHm <b>, a < b\n</think>\n\nYes. <think>no</think>", ("\nHm <b>, a < b\n", "Yes. <think>no</think>")),
    (" <think></think", ">\n\nYes", ("", "Yes")),
    (" <think", ">never ends </th", ("never ends </th", "")),
    (" <think", " something else</think>x", (" something else", "x")),
    (" <think>so far</think>\nYes", " and no", (None, " and no")),
    (" <think>so far", ", more</think> ok", (", more", "ok")),
    ("", " <think>by itself</think>Yes", ("by itself", "Yes")),
    ("", " <thin", (None, "<thin")),
    ("", "  plain", (None, "plain")),
    (" Os", "  lo", (None, "  lo")),
]


@pytest.mark.parametrize(("before", "text", "expected"), CASES)
@given(cuts=st.sets(st.integers(0, 60)))
def test_a_thought_is_told_from_the_answer_however_the_text_is_cut(before: str, text: str, expected: Any, cuts: set[int]) -> None:
    thoughts, at = Thoughts(True, before, strip=True), [0, *sorted(cuts), len(text)]
    parts = [thoughts.feed(text[a:b]) for a, b in zip(at, at[1:], strict=False)] + [thoughts.feed("", last=True)]
    thought, answer = ("".join(column) for column in zip(*parts, strict=True))
    assert (thought, answer) == (expected[0] or "", expected[1])
    assert thoughts.thought == (expected[0] is not None or "<think>" in before)


def test_a_template_without_thoughts_shows_everything() -> None:
    assert Thoughts(False, "", strip=True).feed(" <think>x</think>") == ("", "<think>x</think>")
    assert Thoughts(False, "", strip=False).feed(" x") == ("", " x")
