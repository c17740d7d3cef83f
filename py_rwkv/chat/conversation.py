"""How much of a request the state already holds.

A recurrent state cannot go back, only on: a request can continue from it exactly when the tokens the state has seen are a beginning of the
request's tokens. Otherwise the longest beginning whose state was kept (`prefix_cache.py`) is put in its place, or the state is cleared and the whole
prompt is fed again, which is slower and always right. An answer depends on the request alone, never on which of these happened.

A follow-up turn continues nearly always. World has no token that joins a word or `.` with `\\n\\n`, but it has `。\\n` and `\\n\\n ` (with spaces):

    sampled                     in the state     pending     the history says               then
    ` Oslo` `.` `\\n\\n`          … ` Oslo` `.`    `\\n\\n`      ` Oslo` `.` `\\n\\n` `User` …     continue with `\\n\\n`
    ` Oslo` `.` 0               … ` Oslo` `.`    0           ` Oslo` `.` `\\n\\n` `User` …     continue with `\\n\\n`
    ` Oslo` `.` `\\n\\n` `User`   … `.` `\\n\\n`     `User`      ` Oslo` `.` `\\n\\n` `User` …     continue with `User`
    ` Oslo`, cancelled          …                ` Oslo`     ` Oslo` `\\n\\n` `User` …         continue with ` Oslo`
    `好` `。\\n` `\\n`            … `好` `。\\n`    `\\n`        `好` `。\\n` `\\n` `User` …       continue with `\\n`
    `好` `。` `\\n\\n`            … `好` `。`      `\\n\\n`      `好` `。\\n` `\\n` `User` …       go back: the model wrote apart what the history joins

The last token is never in the state (`runtime/generate.py`), and it is the one whose spelling depends on what follows. A message that was
edited, an answer asked for again, and an answer that cleaning changes also go back, the last two to the state before that answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache

from py_rwkv.chat.prefix_cache import PrefixCache
from py_rwkv.errors import RwkvError
from py_rwkv.runtime.generate import Session
from py_rwkv.runtime.sampling import Candidates
from py_rwkv.tokenizer import Tokenizer

RECENT = 1024  # pieces of text


class Remembering:
    """A tokenizer that does not encode again what it has encoded lately: a conversation brings all of its turns with every request."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.name, self.stop_tokens, self.vocab_limit = tokenizer.name, tokenizer.stop_tokens, tokenizer.vocab_limit
        self.token_bytes, self.decode = tokenizer.token_bytes, tokenizer.decode
        self._encode = lru_cache(RECENT)(lambda text: array("I", tokenizer.encode(text)))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return list(self._encode(text))


def encode(tokenizer: Tokenizer, pieces: Sequence[str | Sequence[int]]) -> list[int]:
    """Token ids of pieces: texts, each encoded by itself, or token ids already."""
    return [token for piece in pieces for token in (tokenizer.encode(piece) if isinstance(piece, str) else piece)]


def missing(fed: Sequence[int], tokens: Sequence[int]) -> list[int] | None:
    """The end of `tokens` that a state which has seen `fed` lacks; None if it cannot continue (another beginning, or nothing left to feed, hence no logits)."""
    size = len(fed)
    return list(tokens[size:]) if size < len(tokens) and list(tokens[:size]) == list(fed) else None


class Conversation:
    """A session and what is known of its state. `start`: the key of the state it began from, "" for the engine's own start."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.start = ""
        self._known = True

    def held(self, tokens: Sequence[int], start: str = "") -> int:
        """How many tokens of a request its state has seen; -1 if it holds something else, which starting afresh would forget."""
        good = self._known and self.start == start and missing(self.session.tokens, tokens) is not None
        return len(self.session.tokens) if good else -1

    async def continue_with(
        self, tokens: Sequence[int], start: str = "", cache: PrefixCache | None = None, origin: str = ""
    ) -> tuple[list[int], Candidates | None]:
        """What to feed so that the state has seen exactly `tokens` (not empty), after putting another state in its place if it must be.

        The candidates for the next token come along where there is nothing left to feed. start: the key of a pinned state of the cache's vault; origin: what
        the cache is to know the start by. RwkvError `unknown-state`.
        """
        held = self.held(tokens, start)
        self._known, self.start = False, start
        candidates = None
        found = await cache.restore(self.session, origin, tokens, more_than=max(held, 0)) if cache else None
        if found:
            held, candidates = found
        elif held < 0:
            self.session.reset()
            if start and (cache is None or await cache.vault.restore([start], self.session) is None):
                raise RwkvError("unknown-state", name=start)
            held = 0
        self._known = True
        return list(tokens[held:]), candidates if held == len(tokens) else None

    def forget(self) -> None:
        """The state is not to be relied on (a step failed half-way): the next request clears it."""
        self._known = False
