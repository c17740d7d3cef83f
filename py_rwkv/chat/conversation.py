"""How much of a request the state already holds.

A recurrent state cannot go back, only on: a request can continue from it exactly when the tokens the state has seen are a beginning of the
request's tokens. Otherwise the state is cleared and the whole prompt is fed again, which is slower and always right. An answer depends on the
request alone, never on which of the two happened.

A follow-up turn continues nearly always. World has no token that joins a word or `.` with `\\n\\n`, but it has `。\\n` and `\\n\\n ` (with spaces):

    sampled                     in the state     pending     the history says               then
    ` Oslo` `.` `\\n\\n`          … ` Oslo` `.`    `\\n\\n`      ` Oslo` `.` `\\n\\n` `User` …     continue with `\\n\\n`
    ` Oslo` `.` 0               … ` Oslo` `.`    0           ` Oslo` `.` `\\n\\n` `User` …     continue with `\\n\\n`
    ` Oslo` `.` `\\n\\n` `User`   … `.` `\\n\\n`     `User`      ` Oslo` `.` `\\n\\n` `User` …     continue with `User`
    ` Oslo`, cancelled          …                ` Oslo`     ` Oslo` `\\n\\n` `User` …         continue with ` Oslo`
    `好` `。\\n` `\\n`            … `好` `。\\n`    `\\n`        `好` `。\\n` `\\n` `User` …       continue with `\\n`
    `好` `。` `\\n\\n`            … `好` `。`      `\\n\\n`      `好` `。\\n` `\\n` `User` …       clear: the model wrote apart what the history joins

The last token is never in the state (`runtime/generate.py`), and it is the one whose spelling depends on what follows. A message that was
edited, an answer asked for again, and an answer that cleaning changes also clear.
"""

from __future__ import annotations

from collections.abc import Sequence

from py_rwkv.runtime.generate import Session
from py_rwkv.tokenizer import Tokenizer


def encode(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[int]:
    """Token ids of pieces, each encoded by itself."""
    return [token for piece in pieces for token in tokenizer.encode(piece)]


def missing(fed: Sequence[int], tokens: Sequence[int]) -> list[int] | None:
    """The end of `tokens` that a state which has seen `fed` lacks; None if it cannot continue (another beginning, or nothing left to feed, hence no logits)."""
    size = len(fed)
    return list(tokens[size:]) if size < len(tokens) and list(tokens[:size]) == list(fed) else None


class Conversation:
    """A session and what is known of its state."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._known = True

    def continue_with(self, tokens: Sequence[int]) -> list[int]:
        """What to feed so that the state has seen exactly `tokens`, after clearing it if it must be. tokens: not empty."""
        rest = missing(self.session.tokens, tokens) if self._known else None
        if rest is None:
            self.session.reset()
            self._known = True
            rest = list(tokens)
        return rest

    def forget(self) -> None:
        """The state is not to be relied on (a step failed half-way): the next request clears it."""
        self._known = False
