"""What the demo model is to know: `facts.json` (animals, capitals, colors, …) and `phrases.json` (whole questions and answers), typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple


class Animal(NamedTuple):
    name: str
    plural: str
    sound: str
    home: str
    food: str
    baby: str
    legs: int
    size: int  # rank for "Is a cat bigger than …"
    remark: str


class Talk(NamedTuple):
    """Any of these questions is answered by any of these answers."""

    ask: list[str]
    say: list[str]


class Ability(NamedTuple):
    can: list[str]
    cannot: list[str]


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text("utf-8"))
    return content


_FACTS, _PHRASES = _read("facts.json"), _read("phrases.json")

NAMES: list[str] = _FACTS["names"]
MORE_NAMES: list[str] = _FACTS["more_names"]
SYLLABLES: list[str] = _FACTS["syllables"]
CAPITALS: dict[str, str] = _FACTS["capitals"]
ANIMALS: dict[str, Animal] = {name: Animal(name, *rest) for name, rest in _FACTS["animals"].items()}
ABILITIES: dict[str, Ability] = {verb: Ability(**lists) for verb, lists in _FACTS["abilities"].items()}
COLORS: dict[str, str] = _FACTS["colors"]
OPPOSITES: dict[str, str] = _FACTS["opposites"]
MEANINGS: dict[str, str] = _FACTS["meanings"]
USES: dict[str, str] = _FACTS["uses"]
LISTS: dict[str, list[str]] = _FACTS["lists"]
NUMBERS: list[str] = _FACTS["numbers"]
FOODS: list[str] = _FACTS["foods"]
COUNTS: dict[str, str] = _FACTS["counts"]

GREETINGS, ABOUT_ITSELF, SMALL_TALK, CHINESE = (
    [Talk(**talk) for talk in _PHRASES[name]] for name in ("greetings", "about_itself", "small_talk", "chinese")
)
ANIMAL_RIDDLES: list[tuple[str, str]] = [(question, answer) for question, answer in _PHRASES["animal_riddles"]]
UNKNOWN_QUESTIONS: list[str] = _PHRASES["unknown"]["questions"]
UNKNOWN_TOPICS: list[str] = _PHRASES["unknown"]["topics"]
UNKNOWN_ANSWERS: list[str] = _PHRASES["unknown"]["answers"]
JOKES: list[str] = [" ".join(joke) for joke in _PHRASES["jokes"]]
POEMS: list[str] = _PHRASES["poems"]
STORY: dict[str, list[Any]] = _PHRASES["story"]
