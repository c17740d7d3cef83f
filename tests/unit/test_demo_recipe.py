"""The demo model's recipe: the training text is the one its weights were trained on, and the model that ships knows it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from build_scripts.demo_model import facts
from build_scripts.demo_model.batches import ANSWER, END, QUESTION, UNKNOWN, Batches
from build_scripts.demo_model.dialogues import dialogue, memory_turns, story_turns
from build_scripts.demo_model.evaluate import Message, ask, engine_answer, evaluate, questions
from build_scripts.demo_model.questions import UNKNOWN_WORDS, Dice, arithmetic, simple, unknown
from py_rwkv.tokenizer import tokenizer_for

DEMO = Path(__file__).parents[2] / "web" / "models" / "demo"


@pytest.mark.parametrize(
    ("hide", "sha256"),
    [
        (0.0, "7631821100dc498b8d2062ea55d7ba68399cf58e3201d4c4088e0baf1fb8f599"),
        (0.6, "3c156718312b996365ddc7f46cb1e1fba946681e4164851becff203dfa649ad6"),
    ],
)
def test_a_seed_stands_for_the_text_that_the_weights_were_trained_on(hide: float, sha256: str) -> None:
    dice = Dice(7)
    dice.hide = hide
    digest = hashlib.sha256()
    for _ in range(2000):
        digest.update(json.dumps(dialogue(dice), ensure_ascii=False).encode())
    assert digest.hexdigest() == sha256


def test_sums_are_right() -> None:
    dice, checked = Dice(1), 0
    signs = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    for _ in range(2000):
        _, answer = arithmetic(dice)
        if found := re.fullmatch(r"(\d+) (plus|minus|times) (\d+) is (\d+)\.", answer):
            a, sign, b, result = found.groups()
            assert signs[sign](int(a), int(b)) == int(result), answer
            checked += 1
    assert checked > 1000


def test_facts_name_animals_and_numbers_that_exist() -> None:
    for ability in facts.ABILITIES.values():
        assert {*ability.can, *ability.cannot} <= set(facts.ANIMALS)
        assert not set(ability.can) & set(ability.cannot)
    assert all(0 <= a.legs < len(facts.NUMBERS) for a in facts.ANIMALS.values())
    assert len({a.size for a in facts.ANIMALS.values()}) > 1  # else no two can be compared


def test_what_is_remembered_was_said_before() -> None:
    dice = Dice(2)
    singular = {a.plural: a.name for a in facts.ANIMALS.values()}
    for _ in range(300):
        said, *_, (_, answer) = memory_turns(dice)
        remembered = answer.rstrip(".").split()[-1]
        assert remembered in said[0] or singular[remembered] in said[0]
        (_, story), *questions_about_it = story_turns(dice)
        for _, answer in questions_about_it:
            assert answer.rstrip(".").split()[-1] in story


def test_unknown_words_hide_the_topic() -> None:
    dice = Dice(3)
    assert not any(UNKNOWN_WORDS in simple(dice)[0] for _ in range(1000))
    dice.hide = 1.0
    for question, _ in (unknown(dice) for _ in range(100)):
        assert UNKNOWN_WORDS in question
        assert not any(topic in question for topic in facts.UNKNOWN_TOPICS)


def test_batches_weigh_answers_and_number_tokens_densely() -> None:
    world = tokenizer_for("world")
    batches = Batches(world.encode, length=64, rows=8, survey=200)
    assert batches.known == sorted(set(batches.known))
    assert batches.known[0] == 0
    numbers, weights = batches.next()
    assert numbers.shape == weights.shape == (8, 65)
    assert numbers.max() <= len(batches.known)
    assert set(np.unique(weights)) <= {np.float32(w) for w in (0.0, QUESTION, ANSWER, END)}
    ids, loss = batches.tokens([("Hi", "Hello!"), (f"What is {UNKNOWN_WORDS}?", "Sorry.")])
    answers = [i for i, w in zip(ids, loss, strict=True) if w == ANSWER]
    assert world.decode(answers) == " Hello!\n\n Sorry.\n\n"
    assert 1 <= ids.count(UNKNOWN) <= 3
    assert (ids[-1], loss[-1]) == (0, END)


def test_evaluation_counts_right_answers() -> None:
    sizes = {"capitals": 40, "opposites": 32, "sums": 60, "times tables": 40, "animals eat": 30, "names": 2}
    known = {q.says: q.expected for asked in questions().values() for q in asked}

    def perfect(messages: Sequence[Message]) -> str:
        return f"It{known.get(tuple(m['content'] for m in messages if m['role'] == 'user'), ' is well.')}"

    def clueless(messages: Sequence[Message]) -> str:
        return "I do not know."

    assert {subject: (right, asked) for subject, right, asked, _ in evaluate(perfect)} == {name: (n, n) for name, n in sizes.items()}
    assert {subject: (right, len(wrong)) for subject, right, _, wrong in evaluate(clueless)} == {name: (0, n) for name, n in sizes.items()}


def test_the_model_that_ships_knows_what_its_card_says() -> None:
    with engine_answer(str(DEMO), "cpu") as answer:
        wrong = [
            (question, got)
            for subject, asked in questions().items()
            for question in islice(asked, 0, None, 1 if subject == "names" else 10)
            if question.expected not in (got := ask(answer, question))
        ]
    assert not wrong
