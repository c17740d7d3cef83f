"""Whole dialogues of the training text: single turns in a row, stories with a question about them, things to remember.

python -m build_scripts.demo_model.dialogues      # prints samples
"""

from __future__ import annotations

from build_scripts.demo_model.facts import ANIMALS, FOODS, JOKES, LISTS, STORY
from build_scripts.demo_model.questions import Dice, Turn, article, capitalized, person, simple


def story(d: Dice, hero: str | None = None) -> tuple[str, str, str]:
    """(text, name of the hero, the hero's animal): somebody finds something, meets somebody in trouble, helps, and they are friends."""
    a = hero or d.choice(list(ANIMALS))
    b = d.choice([x for x in ANIMALS if x != a])
    n, m = person(d), person(d)
    trouble, help_ = d.choice(STORY["problems"])
    found, place = d.choice(STORY["objects"]), d.choice(STORY["places"])

    def hero_now() -> str:
        return f"{article(d.choice(STORY['adjectives']))} {a}"

    beginning = [
        f"Once upon a time, there was {hero_now()} named {n} who lived {place}.",
        f"{capitalized(place)} lived {hero_now()} called {n}.",
        f"Long ago, {hero_now()} named {n} lived {place}.",
    ]
    find = [
        f"One morning, {n} found {found} under a tree.",
        f"One day, {n} went for a walk and found {found}.",
        f"Every day, {n} looked for something new, and one day it was {found}.",
    ]
    meet = [
        f"On the way home, {n} met {article(b)} named {m}.",
        f"Just then, {article(b)} named {m} came by.",
        f"Suddenly, {n} heard a soft voice. It was {m}, {article(b)}.",
    ]
    resolve = [
        f"{n} wanted to help.",
        f'"Do not worry," said {n}. "I will help you."',
        f"{n} thought for a while and had an idea.",
    ]
    thank = [
        f'"Thank you, {n}!" said {m} with a smile.',
        f"{m} was very happy and gave {n} a big hug.",
        f"{m} laughed and danced around {n}.",
    ]
    text = [d.choice(beginning), d.choice(find), d.choice(meet), f"{m} {trouble}.", d.choice(resolve), f"So {n} {help_}.", d.choice(thank)]
    if d.random() < 0.7:
        text.append(d.choice([f"{n} gave {found} to {m} as a gift.", f"Together they looked at {found} and smiled."]))
    text.append(d.choice(STORY["endings"]))
    return " ".join(text), n, a


def story_turns(d: Dice) -> list[Turn]:
    """A wish for a story, the story, and sometimes a question about its hero."""
    hero = None
    if d.random() < 0.5:
        hero = d.choice(list(ANIMALS))
        one = article(hero)
        asks = [f"Tell me a story about {one}.", f"Can you tell a story about {one}?", f"Write a short story about {one}."]
        wish = d.choice([*asks, f"I want a story with {one}."])
    else:
        asks = ["Tell me a story.", "Tell me a short story.", "Can you tell me a story?", "I want to hear a story."]
        wish = d.choice([*asks, "Another story, please.", "Write a story.", "Once upon a time"])
    text, name, animal = story(d, hero)
    turns = [(wish, text)]
    if d.random() < 0.35:
        turns.append((d.choice([f"What was the name of the {animal}?", f"Who was the {animal}?"]), f"The {animal} was named {name}."))
    return turns


def memory_turns(d: Dice) -> list[Turn]:
    """Somebody says something about themselves, talks of other things, and asks for it."""
    name, kind = person(d), d.randrange(4)
    if kind == 0:
        asks = [f"My name is {name}.", f"I am {name}.", f"Hello, I am {name}.", f"Hi! My name is {name}.", f"Call me {name}."]
        says = [f"Nice to meet you, {name}!", f"Hello, {name}! How can I help you?", f"Hi {name}! What shall we talk about?"]
        turns = [(d.choice(asks), d.choice(says)), *(simple(d) for _ in range(d.randint(0, 3)))]
        again = ["What is my name?", "Do you know my name?", "Who am I?", "Do you remember my name?"]
        return [*turns, (d.choice(again), d.choice([f"Your name is {name}.", f"You told me that your name is {name}."]))]
    if kind == 1:
        animal = ANIMALS[d.choice(list(ANIMALS))]
        asks = [f"I like {animal.plural}.", f"My favorite animal is the {animal.name}.", f"I have {article(animal.name)}."]
        says = [f"{capitalized(animal.plural)} are wonderful animals.", f"That is nice! {animal.remark}"]
        again, answer = ["Which animal do I like?", "What animal did I talk about?"], f"You like {animal.plural}."
    elif kind == 2:
        color = d.choice(LISTS["colors"])
        asks = [f"My favorite color is {color}.", f"I like the color {color} best."]
        says = [f"{capitalized(color)} is a beautiful color.", f"I like {color} too!"]
        again, answer = ["What is my favorite color?", "Which color do I like?"], f"Your favorite color is {color}."
    else:
        food = d.choice(FOODS)
        asks = [f"I like to eat {food}.", f"My favorite food is {food}.", f"I had {food} for lunch."]
        says = ["That sounds tasty!", "That is a good choice. I hope it was tasty."]
        again, answer = ["What do I like to eat?", "What food did I talk about?"], f"You told me about {food}."
    turns = [(d.choice(asks), d.choice(says)), *(simple(d) for _ in range(d.randint(0, 2)))]
    return [*turns, (d.choice(again), answer)]


def joke_turns(d: Dice) -> list[Turn]:
    """Two to four different jokes in a row."""
    first = ["Tell me a joke.", "Do you know a joke?", "Make me laugh."]
    more = ["Tell me a joke.", "Another joke, please.", "Tell me another joke.", "One more joke.", "tell me a joke", "Another one."]
    return [(d.choice(more if i else first), joke) for i, joke in enumerate(d.sample(JOKES, d.randint(2, 4)))]


def dialogue(d: Dice) -> list[Turn]:
    """The turns of one dialogue."""
    r = d.random()
    if r < 0.16:
        return memory_turns(d)
    if r < 0.36:
        turns = story_turns(d)
        return [*turns, simple(d)] if d.random() < 0.5 else turns
    if r < 0.39:
        return joke_turns(d)
    return [simple(d) for _ in range(d.choice([1, 1, 2, 2, 3, 4, 5]))]


def text(turns: list[Turn]) -> str:
    """A dialogue as the model reads it."""
    return "".join(f"User: {question}\n\nAssistant: {answer}\n\n" for question, answer in turns)


if __name__ == "__main__":
    dice = Dice(1)
    for _ in range(12):
        print(text(dialogue(dice)), "-----", sep="\n")
