"""Sessions without a model, for tests of what stands above one: deterministic, plain Python, and they remember what they were fed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates


class ToySession:
    """A "model" whose state is a hash of all tokens fed; it likes 32 letters, by the hash."""

    def __init__(self, chunk: int = 128, fail_at: int = 1 << 30) -> None:
        self.tokens: list[int] = []
        self.chunk, self.fail_at = chunk, fail_at
        self.state = self.resets = 0

    async def prefill(self, tokens: Sequence[int], cancel: Callable[[], bool]) -> Candidates:
        assert tokens
        for at in range(0, len(tokens), self.chunk):
            if cancel():
                raise RwkvError("cancelled")
            for token in tokens[at : at + self.chunk]:
                self._feed(token)
        return self.candidates()

    async def step(self, token: int) -> Candidates:
        self._feed(token)
        return self.candidates()

    def drawing(self, *_: object) -> bool:
        return False

    async def draw(self, token: int, drawn: int, most: int) -> list[tuple[int, float]]:
        raise NotImplementedError

    async def rewind(self, count: int) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        self.tokens, self.state = [], 0
        self.resets += 1

    def _feed(self, token: int) -> None:
        if len(self.tokens) == self.fail_at:
            raise RwkvError("internal", reason="the device is gone")
        self.tokens.append(token)
        self.state = (self.state * 1103515245 + token + 12345) % (1 << 31)

    def candidates(self) -> Candidates:
        scored = sorted((-((self.state >> 3) * (i + 7) % 97) / 20, 98 + i) for i in range(32))
        logits = [-cost for cost, _ in scored]
        return Candidates([token for _, token in scored], logits, math.log(sum(map(math.exp, logits))))


class ScriptSession(ToySession):
    """Answers the tokens of `answers`, one list per prefill (the last one again and again), nearly certain of each, then token 0."""

    def __init__(self, *answers: list[int]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.script: list[int] = []

    async def prefill(self, tokens: Sequence[int], cancel: Callable[[], bool]) -> Candidates:
        self.script = list(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        return await super().prefill(tokens, cancel)

    def candidates(self) -> Candidates:
        best = self.script.pop(0) if self.script else 0
        return Candidates([best, 11 if best != 11 else 12], [9.0, 0.0], math.log(math.exp(9) + 1))
