"""Where in an answer its grammar begins: behind the space that a template puts before it, and behind a thought."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from py_rwkv.chat.templates import CLOSE, OPEN
from py_rwkv.lazy import structured
from py_rwkv.runtime.sampling import bad

if TYPE_CHECKING:
    from py_rwkv.structured import Grammar


@lru_cache(16)
def framed(grammar: Grammar, space: bool, thought: bool) -> Grammar:
    """The grammar of an answer of which the text that counts has this one. The same object for the same grammar, as it remembers its masks."""
    front = [structured.optional(structured.literal(" "))] if space else []
    return structured.sequence(
        *front, *([structured.literal(OPEN), structured.until(CLOSE), structured.regex(r"[ \n]{0,2}")] if thought else []), grammar
    )


def grammar_of_answer(grammar: Grammar, before: str, strip: bool) -> tuple[Grammar, bool]:
    """The grammar of all that comes from the cue on, and whether white space before the answer still is the template's.

    before: how the answer begins in the prompt. RwkvError `bad-setting` if nothing the grammar allows begins so.
    """
    thought = OPEN[:-1] in before
    strip = strip and not grammar.begins(" ")
    whole = framed(grammar, strip or thought, thought)
    if not whole.begins(before):
        raise bad("messages", "an answer to continue that begins as response_format or tools demand", before)
    return whole, strip
