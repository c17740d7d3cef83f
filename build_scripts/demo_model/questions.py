"""One question and its answer: facts, sums, word play, small talk.

The order in which random numbers are drawn is part of the recipe: a seed stands for exactly one text. Lists of ready-made sentences are therefore built before the
choice among them, and a choice among one thing still draws.
"""

from __future__ import annotations

import random

from build_scripts.demo_model.facts import (
    ABILITIES,
    ABOUT_ITSELF,
    ANIMAL_RIDDLES,
    ANIMALS,
    CAPITALS,
    CHINESE,
    COLORS,
    COUNTS,
    GREETINGS,
    JOKES,
    LISTS,
    MEANINGS,
    MORE_NAMES,
    NAMES,
    NUMBERS,
    OPPOSITES,
    POEMS,
    SMALL_TALK,
    SYLLABLES,
    UNKNOWN_ANSWERS,
    UNKNOWN_QUESTIONS,
    UNKNOWN_TOPICS,
    USES,
    Animal,
    Talk,
)

Turn = tuple[str, str]  # question, answer
UNKNOWN_WORDS = "\ue000"  # stands in a question for one to three words that the model has never seen


class Dice(random.Random):
    """The source of all randomness. `hide` is how often the topic of an unanswerable question is replaced by UNKNOWN_WORDS."""

    hide = 0.0


def capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def person(d: Dice) -> str:
    """A name: a frequent one, a rarer one, or syllables that nobody is called, so that names are copied rather than known."""
    r = d.random()
    if r < 0.35:
        return d.choice(NAMES)
    if r < 0.75:
        return d.choice(MORE_NAMES)
    return capitalized("".join(d.choice(SYLLABLES) for _ in range(d.randint(2, 3))) + d.choice(["", "", "n", "s", "l", "r", "x"]))


def talk(d: Dice, among: list[Talk]) -> Turn:
    ask, say = d.choice(among)
    return d.choice(ask), d.choice(say)


def disturb(d: Dice, question: str) -> str:
    """The way people really type: lower case, no question mark, "please", "so, …"."""
    r = d.random()
    if r < 0.12:
        question = question.lower()
    if r > 0.9 and question[-1:] in "?.!":
        question = question[:-1]
    if 0.12 < r < 0.17 and not question.startswith(("I ", "Hello", "Hi")):
        question = "Please " + question[0].lower() + question[1:]
    if 0.17 < r < 0.2:
        question = d.choice(["Hey, ", "So, ", "Well, ", "OK. "]) + question
    return question


def capital(d: Dice) -> Turn:
    land = d.choice(list(CAPITALS))
    asks = ["What is the capital of {}?", "Tell me the capital of {}.", "Which city is the capital of {}?"]
    question = d.choice([*asks, "Do you know the capital of {}?", "capital of {}?"]).format(land)
    city = CAPITALS[land]
    says = [f"The capital of {land} is {city}.", f"{capitalized(land)} has the capital {city}.", f"It is {city}."]
    return question, d.choice(says[: 1 if d.random() < 0.7 else 3])


def about_animal(d: Dice, kind: int, a: Animal) -> Turn:
    one, many = article(a.name), a.plural
    if kind == 0:
        asks = [f"What sound does {one} make?", f"What does {one} say?", f"What noise do {many} make?"]
        silent = {"nothing": f"{capitalized(one)} makes no loud sound.", "sing": "A whale sings long songs."}
        return d.choice(asks), silent.get(a.sound, f"{capitalized(one)} says {a.sound}.")
    if kind == 1:
        return d.choice([f"Where does {one} live?", f"Where do {many} live?"]), f"{capitalized(one)} lives {a.home}."
    if kind == 2:
        asks = [f"What does {one} eat?", f"What do {many} eat?", f"What do {many} like to eat?"]
        return d.choice(asks), f"{capitalized(one)} eats {a.food}."
    if kind == 3:
        asks = [f"What is a baby {a.name} called?", f"What do you call a baby {a.name}?"]
        return d.choice(asks), f"A baby {a.name} is called {article(a.baby)}."
    if kind == 4:
        asks = [f"How many legs does {one} have?", f"How many legs do {many} have?"]
        return d.choice(asks), f"{capitalized(one)} has {NUMBERS[a.legs] if a.legs else 'no'} legs."
    if kind == 5:
        asks = [f"What is {one}?", f"Tell me about {many}.", f"Tell me about the {a.name}.", f"Tell me something about {many}."]
        answer = f"{capitalized(one)} is an animal that lives {a.home}. It eats {a.food}. {a.remark}"
        return d.choice([*asks, f"Describe {one}."]), answer
    return compare_animals(d, a)


def compare_animals(d: Dice, a: Animal) -> Turn:
    b = ANIMALS[d.choice(list(ANIMALS))]
    while b.size == a.size:
        b = ANIMALS[d.choice(list(ANIMALS))]
    big, small = (article(x.name) for x in ((a, b) if a.size > b.size else (b, a)))
    first, second = article(a.name), article(b.name)
    way = d.randrange(3)
    if way == 0:
        return f"Is {first} bigger than {second}?", f"{'Yes' if first == big else 'No'}, {big} is bigger than {small}."
    if way == 1:
        return f"Which is bigger, {first} or {second}?", f"{capitalized(big)} is bigger than {small}."
    return f"Which is smaller, {first} or {second}?", f"{capitalized(small)} is smaller than {big}."


def color(d: Dice) -> Turn:
    o = d.choice(list(COLORS))
    return d.choice([f"What color is {o}?", f"Which color is {o}?", f"What is the color of {o}?"]), f"{capitalized(o)} is {COLORS[o]}."


def opposite(d: Dice) -> Turn:
    a = d.choice(list(OPPOSITES))
    b = OPPOSITES[a]
    if d.random() < 0.3:
        a, b = b, a
    if b == "light":  # the opposite of heavy and of dark: only one can be right
        a = "dark"
    elif b == "black":
        a, b = "white", "black"
    return d.choice([f"What is the opposite of {a}?", f"Opposite of {a}?", f"Tell me the opposite of {a}."]), f"The opposite of {a} is {b}."


def meaning(d: Dice) -> Turn:
    o = d.choice(list(MEANINGS))
    asks = [f"What is {o}?", f"Explain what {o} is.", f"What does the word {o.split(' ', 1)[-1]} mean?"]
    return d.choice(asks[: 2 if d.random() < 0.8 else 3]), f"{capitalized(o)} is {MEANINGS[o]}."


def enumeration(d: Dice) -> Turn:
    what = d.choice(list(LISTS))
    n = d.randint(2, 4)
    things = LISTS[what][:n] if what in ("days", "months", "seasons", "numbers", "planets") else d.sample(LISTS[what], n)
    wish = f"{NUMBERS[n]} {what}"
    asks = [f"Name {wish}.", f"Give me {wish}.", f"Can you name {wish}?", f"List {wish}."]
    return d.choice(asks), f"Here are {wish}: {', '.join(things[:-1])} and {things[-1]}."


def neighbour(d: Dice) -> Turn:
    kind = d.choice(["days", "months", "numbers", "planets"])
    things, one = LISTS[kind], kind[:-1]
    i = d.randrange(len(things) - 1)
    if kind == "days":  # the only list that goes round
        i = d.randrange(7)
    this, after = things[i], things[(i + 1) % len(things)]
    if d.random() < 0.5:
        asks = [f"What {one} comes after {this}?", f"What comes after {this}?", f"Which {one} is after {this}?"]
        return d.choice(asks), f"{capitalized(after)} comes after {this}."
    return d.choice([f"What {one} comes before {after}?", f"What comes before {after}?"]), f"{capitalized(this)} comes before {after}."


def count(d: Dice) -> Turn:
    question = d.choice(list(COUNTS)[d.randrange(len(COUNTS)) :][:1])
    return question, COUNTS[question]


def fact(d: Dice) -> Turn:
    kind = d.randrange(15)
    if kind < 2:
        return capital(d)
    animal = ANIMALS[d.choice(list(ANIMALS))]
    if kind < 9:
        return about_animal(d, kind - 2, animal)
    return (color, opposite, meaning, enumeration, neighbour, count)[kind - 9](d)


def arithmetic(d: Dice) -> Turn:
    kind, in_words = d.randrange(4), d.random() < 0.3
    top = 12 if in_words else 20

    def word(n: int) -> str:
        return NUMBERS[n] if in_words and n <= 12 else str(n)

    if kind < 2:
        a, b = d.randint(0, top), d.randint(0, top)
        x, y = word(a), word(b)
        asks = [f"What is {x} plus {y}?", f"{x} + {y} = ?", f"How much is {x} and {y}?", f"Add {x} and {y}."]
        return d.choice(asks), f"{capitalized(x)} plus {y} is {word(a + b)}."
    if kind == 2:
        a = d.randint(0, top)
        b = d.randint(0, a)
        x, y = word(a), word(b)
        return d.choice(
            [f"What is {x} minus {y}?", f"{x} - {y} = ?", f"Take {y} from {x}."]
        ), f"{capitalized(x)} minus {y} is {word(a - b)}."
    a, b = d.randint(1, 10), d.randint(1, 10)
    return d.choice([f"What is {a} times {b}?", f"{a} x {b} = ?", f"Multiply {a} by {b}."]), f"{a} times {b} is {a * b}."


JOKE_WISHES = [
    "Tell me a joke.",
    "Do you know a joke?",
    "Make me laugh.",
    "Another joke, please.",
    "Say something funny.",
    "I want to hear a joke.",
]
POEM_WISHES = ["Write a poem.", "Tell me a poem.", "Can you write a short poem?", "Make a rhyme for me.", "I would like a poem."]
CRIES = ["hello", "goodbye", "I like cats", "good morning", "the sun is bright", "apple", "banana", "yes", "blue"]
SENTENCES = [
    "hello",
    "good morning",
    "I am a robot",
    "cats are nice",
    "the moon is bright",
    "I like tea",
    "we are friends",
    "have a nice day",
]


def word_play(d: Dice) -> Turn:
    """Jokes, poems, repeating, counting."""
    kind = d.randrange(6)
    if kind == 0:
        joke = d.choice(JOKES)
        return d.choice(JOKE_WISHES), joke
    if kind == 1:
        return d.choice(POEM_WISHES), d.choice(POEMS)
    if kind == 2:
        cry, n = d.choice(CRIES), d.randint(2, 4)
        return f"Say {cry} {NUMBERS[n]} times.", ", ".join([capitalized(cry)] + [cry] * (n - 1)) + "."
    if kind == 3:
        if d.random() < 0.4:
            text = d.choice(SENTENCES)
        else:
            words = [*OPPOSITES, *LISTS["fruits"], *LISTS["colors"], *LISTS["animals"], person(d)]
            text = " ".join(d.sample(words, d.randint(1, 4)))
        return d.choice([f"Say {text}.", f"Repeat: {text}", f"Repeat after me: {text}."]), capitalized(text) + "."
    if kind == 4:
        n = d.choice([3, 4, 5, 6, 7, 8, 9, 10])
        asks = [f"Count to {NUMBERS[n]}.", f"Count from one to {NUMBERS[n]}.", f"Can you count to {n}?"]
        return d.choice(asks), capitalized(", ".join(NUMBERS[1 : n + 1])) + "."
    n = d.choice([3, 5, 7])
    return f"Count down from {NUMBERS[n]}.", capitalized(", ".join(NUMBERS[n:0:-1])) + "."


def common_sense(d: Dice) -> Turn:
    kind = d.randrange(6)
    if kind == 0:
        tool = d.choice(list(USES))
        return d.choice(
            [f"What do you do with {tool}?", f"What is {tool} for?", f"What can I do with {tool}?"]
        ), f"You can use {tool} to {USES[tool]}."
    if kind == 1:
        verb = d.choice(list(ABILITIES))
        able = d.random() < 0.5
        animal = ANIMALS[d.choice(ABILITIES[verb].can if able else ABILITIES[verb].cannot)]
        one = article(animal.name)
        return d.choice(
            [f"Can {one} {verb}?", f"Can {animal.plural} {verb}?"]
        ), f"Yes, {one} can {verb}." if able else f"No, {one} cannot {verb}."
    if kind == 2:
        a, b = d.sample(range(101), 2)
        return d.choice([f"Which is bigger, {a} or {b}?"]), f"{max(a, b)} is bigger than {min(a, b)}."
    if kind == 3:
        return d.choice(ANIMAL_RIDDLES)
    return talk(d, SMALL_TALK)


def unknown(d: Dice) -> Turn:
    """A question that the model cannot answer, and a refusal that says so."""
    x, y = d.sample(UNKNOWN_TOPICS, 2)
    question, answer = d.choice(UNKNOWN_QUESTIONS).format(x=x, y=y), d.choice(UNKNOWN_ANSWERS)
    if d.hide and d.random() < d.hide:
        for topic in UNKNOWN_TOPICS:
            question = question.replace(topic, UNKNOWN_WORDS)
    return question, answer


def simple(d: Dice) -> Turn:
    """One turn that needs no other: the mix of all of the above."""
    r = d.random()
    if r < 0.18:
        question, answer = talk(d, GREETINGS)
    elif r < 0.58:
        question, answer = fact(d)
    elif r < 0.72:
        question, answer = arithmetic(d)
    elif r < 0.79:
        question, answer = word_play(d)
    elif r < 0.86:
        question, answer = common_sense(d)
    elif r < 0.92:
        question, answer = talk(d, ABOUT_ITSELF)
    elif r < 0.96:
        question, answer = unknown(d)
    else:
        return talk(d, CHINESE)
    return disturb(d, question), answer
