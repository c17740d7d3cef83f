"""Dialogues → batches of token numbers and loss weights, an endless stream that one seed determines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from build_scripts.demo_model.dialogues import dialogue
from build_scripts.demo_model.questions import UNKNOWN_WORDS, Dice, Turn

UNKNOWN = -1  # a token that the model has never seen
QUESTION, ANSWER, END = 0.15, 1.0, 0.3  # weights in the loss: the answers are what it is to learn


class Batches:
    """Numbers tokens densely: `known` holds the token ids that occur, sorted; number len(known) stands for all others."""

    def __init__(
        self, encode: Callable[[str], list[int]], *, length: int = 256, rows: int = 16, seed: int = 7, survey: int = 40_000
    ) -> None:
        self.encode, self.length, self.rows = encode, length, rows
        self.dice = Dice(seed)
        self.dice.hide = 0.6
        seen = {0}
        for _ in range(survey):
            seen.update(self.tokens(dialogue(self.dice))[0])
        self.known = sorted(seen - {UNKNOWN})
        self.number = {token: i for i, token in enumerate(self.known)}

    def tokens(self, turns: list[Turn]) -> tuple[list[int], list[float]]:
        """Token ids and loss weights of a dialogue, cut into pieces exactly where a chat engine feeds them."""
        ids: list[int] = []
        weights: list[float] = []

        def add(text: str, weight: float) -> None:
            for i, part in enumerate(text.split(UNKNOWN_WORDS)):
                new = [UNKNOWN] * self.dice.randint(1, 3) if i else []
                new += self.encode(part) if part else []
                ids.extend(new)
                weights.extend([weight] * len(new))

        for question, answer in turns:
            add(f"User: {question}\n\nAssistant:", QUESTION)
            add(f" {answer}\n\n", ANSWER)
        return [*ids, 0], [*weights, END]

    def next(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(token numbers [rows, length + 1], loss weights of the same shape). A row begins with a dialogue, three times out of ten after a token 0."""
        numbers = np.zeros((self.rows, self.length + 1), np.int64)
        weights = np.zeros((self.rows, self.length + 1), np.float32)
        for row in range(self.rows):
            ids, loss = ([0], [0.0]) if self.dice.random() < 0.3 else ([], [])
            while len(ids) < self.length + 1:
                more_ids, more_loss = self.tokens(dialogue(self.dice))
                ids, loss = ids + more_ids, loss + more_loss
            numbers[row] = [self.number.get(i, len(self.known)) for i in ids[: self.length + 1]]
            weights[row] = loss[: self.length + 1]
        return numbers, weights
