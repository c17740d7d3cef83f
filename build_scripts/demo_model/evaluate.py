"""Asks a demo model what it was trained to know and counts right answers: the figures of the model card.

python -m build_scripts.demo_model.evaluate web/models/demo --device cpu     # the page's int8 model on our engine
python -m build_scripts.demo_model.evaluate rwkv7-demo.pth --official        # the f16 checkpoint on the `rwkv` package (needs torch)
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from build_scripts.demo_model.facts import ANIMALS, CAPITALS, OPPOSITES
from build_scripts.demo_model.questions import article

Message = dict[str, str]  # role, content
Answer = Callable[[Sequence[Message]], str]  # the greedy answer to a conversation that ends with the user
MAX_TOKENS = 120


@dataclass(frozen=True)
class Question:
    """What a person says, turn by turn, and what the last answer must contain."""

    says: tuple[str, ...]
    expected: str


def questions() -> dict[str, list[Question]]:
    """{subject: questions}, always the same."""
    draw = random.Random(0)
    sums = [(draw.randint(0, 20), draw.randint(0, 20)) for _ in range(60)]
    products = draw.sample([(a, b) for a in range(1, 11) for b in range(1, 11)], 40)
    return {
        "capitals": [Question((f"What is the capital of {land}?",), f" {city}.") for land, city in CAPITALS.items()],
        "opposites": [Question((f"What is the opposite of {a}?",), f" is {b}.") for a, b in OPPOSITES.items()],
        "sums": [Question((f"What is {a} plus {b}?",), f" is {a + b}.") for a, b in sums],
        "times tables": [Question((f"What is {a} times {b}?",), f" is {a * b}.") for a, b in products],
        "animals eat": [Question((f"What does {article(a.name)} eat?",), f" eats {a.food}.") for a in ANIMALS.values()],
        "names": [
            Question((f"My name is {name}.", "What is the capital of Norway?", "What is my name?"), name) for name in ("Tavo", "Priya")
        ],
    }


def ask(answer: Answer, question: Question) -> str:
    """The answer to the last turn, after the model has answered the others."""
    messages: list[Message] = []
    for says in question.says:
        messages.append({"role": "user", "content": says})
        messages.append({"role": "assistant", "content": answer(messages)})
    return messages[-1]["content"]


def evaluate(answer: Answer) -> Iterator[tuple[str, int, int, list[tuple[Question, str]]]]:
    """(subject, right answers, questions, what went wrong), one after the other."""
    for subject, asked in questions().items():
        wrong = [(q, got) for q in asked if q.expected not in (got := ask(answer, q))]
        yield subject, len(asked) - len(wrong), len(asked), wrong


@contextmanager
def engine_answer(model: str, device: str = "cpu") -> Iterator[Answer]:
    """Our engine. model: what `py-rwkv chat` takes; device: auto, gpu or cpu."""
    from py_rwkv.chat.service import ChatService
    from py_rwkv.native import open_model

    with asyncio.Runner() as runner, closing(runner.run(open_model(model, device))) as engine:
        service = ChatService(engine)

        def answer(messages: Sequence[Message]) -> str:
            request = {"messages": list(messages), "temperature": 0, "max_tokens": MAX_TOKENS}
            text: str = runner.run(service.complete(request))["choices"][0]["message"]["content"]
            return text

        yield answer


@contextmanager
def official_answer(checkpoint: Path) -> Iterator[Answer]:
    """The `rwkv` package in f32 on the CPU, fed as the model was trained: every turn's text by itself."""
    import os

    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0", RWKV_V7_ON="1")
    from rwkv.model import RWKV

    from py_rwkv.tokenizer import tokenizer_for

    net, tokenizer = RWKV(model=str(checkpoint.with_suffix("")), strategy="cpu fp32"), tokenizer_for("world")

    def answer(messages: Sequence[Message]) -> str:
        state = None
        for m in messages:
            text = f"User: {m['content']}\n\nAssistant:" if m["role"] == "user" else f" {m['content']}\n\n"
            scores, state = net.forward(tokenizer.encode(text), state)
        tokens: list[int] = []
        for _ in range(MAX_TOKENS):
            token = int(scores.argmax())
            if token == 0 or "\n\n" in tokenizer.decode([*tokens, token]):
                break
            tokens.append(token)
            scores, state = net.forward([token], state)
        return tokenizer.decode(tokens).strip()

    yield answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--device", default="cpu", choices=["auto", "gpu", "cpu"])
    parser.add_argument("--official", action="store_true", help="run the checkpoint with the `rwkv` package")
    options = parser.parse_args()
    with official_answer(Path(options.model)) if options.official else engine_answer(options.model, options.device) as answer:
        for subject, right, asked, wrong in evaluate(answer):
            print(f"{subject:13} {right:2}/{asked}", flush=True)
            for question, got in wrong:
                print(f"    {question.says[-1]}  {got!r}, not {question.expected.strip()!r}")


if __name__ == "__main__":
    main()
