"""Tells a thought from the answer, while both stream: `<think>…</think>` at the beginning is the thought, all the rest is the answer."""

from __future__ import annotations

from typing import Literal

from py_rwkv.chat.templates import CLOSE, OPEN


class Thoughts:
    """How the text is cut changes nothing. `before`: how the answer begins in the prompt (` <think`, or as far as it came), which is not told again."""

    def __init__(self, thinks: bool, before: str, strip: bool) -> None:
        """thinks: whether there may be a thought; strip: white space before the answer is the template's."""
        self.thought = False  # whether there was one, if only an empty one
        self._at: Literal["start", "thought", "answer"] = "start" if thinks else "answer"
        self._forced = OPEN[:-1] in before[: len(before) - len(before.lstrip()) + len(OPEN)]
        self._strip, self._held = strip, ""
        self.feed(before)

    @property
    def thinking(self) -> bool:
        """Whether what comes now is the thought."""
        return self._at == "thought"

    def feed(self, text: str, last: bool = False) -> tuple[str, str]:
        """(thought, answer) that are certain by now. last: nothing follows."""
        thought = answer = ""
        self._held += text
        if self._at == "start":
            bare = self._held.lstrip()
            if bare.startswith(OPEN) or (self._forced and not OPEN.startswith(bare)):
                self._at, self.thought, self._held = "thought", True, bare.removeprefix(OPEN[:-1]).removeprefix(">")
            elif last or not OPEN.startswith(bare):
                self._at = "answer"
            else:
                return "", ""
        if self._at == "thought":
            at = self._held.find(CLOSE)
            if at >= 0:
                thought, self._held = self._held[:at], self._held[at + len(CLOSE) :]
                self._at, self._strip = "answer", True
            else:
                hold = 0 if last else next((n for n in range(len(CLOSE) - 1, 0, -1) if self._held.endswith(CLOSE[:n])), 0)
                cut = len(self._held) - hold
                thought, self._held = self._held[:cut], self._held[cut:]
        if self._at == "answer":
            answer, self._held = self._held.lstrip() if self._strip else self._held, ""
            self._strip = self._strip and not answer
        return thought, answer
