r"""Regular expressions → parts of a grammar: the subset of ECMA 262's that both it and Python's `re` read alike (docs/structured.md has the table).

    a . [a-z] [^a-z] \d \w \s \D \W \S \n \t \r \f \v \xHH \uHHHH \.     x* x+ x? {n} {n,} {n,m}, also with ? behind     (x) (?:x) (?<name>x) x|y     ^ $ at the ends

No groups are remembered and nothing looks ahead, so \1, (?=x), (?!x), (?<=x), \b and inline flags are refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

from py_rwkv.errors import RwkvError
from py_rwkv.structured.automaton import MANY, Part
from py_rwkv.structured.characters import ALL, Ranges, others, ranges
from py_rwkv.structured.grammar import Grammar
from py_rwkv.structured.patterns import Text, characters, joined, places_in, repeat, united

LONGEST, DEEPEST, MOST_REPEATS, MOST_PLACES = 4000, 40, 100_000, 1000  # of a pattern: characters, groups, a count, parts written out

DIGIT: Ranges = ((0x30, 0x39),)
WORD = ranges([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
SPACE = ranges([(9, 13), (0x20, 0x20)])
# Python's white space and ECMA's differ; \S is what neither of them counts as such.
SPACES = ranges(
    [
        *SPACE,
        *((code, code) for code in (0x1C, 0x1D, 0x1E, 0x1F, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)),
        (0x2000, 0x200A),
    ]
)
DOT = others(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)))
CLASSES = {"d": DIGIT, "w": WORD, "s": SPACE, "D": others(DIGIT), "W": others(WORD), "S": others(SPACES)}
CONTROL = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "0": 0}
SYNTAX = "^$\\.*+?()[]{}|/-"
LOOKS = {"=": "lookahead", "!": "lookahead", "<=": "lookbehind", "<!": "lookbehind"}


@lru_cache(8)
def regex(pattern: str) -> Grammar:
    """Texts that match the whole pattern, with or without ^ and $. RwkvError `bad-regex` says what is not supported, and where."""
    return Grammar(pattern_part(pattern, json=False))


def pattern_part(pattern: str, json: bool, anywhere: bool = False) -> Part:
    """The part for a pattern. json: of its spelling inside a JSON string; anywhere: text may stand before and behind what is not anchored."""
    if not isinstance(pattern, str):
        raise RwkvError("bad-regex", pattern=repr(pattern)[:80], at=0, reason="it must be a text")
    return _Parser(pattern, json).whole(anywhere)


class _Parser:
    def __init__(self, pattern: str, json: bool) -> None:
        self.pattern, self.json, self.at, self.depth = pattern, json, 0, 0
        if len(pattern) > LONGEST:
            self.fail(f"it has {len(pattern)} characters; {LONGEST} are allowed")

    def fail(self, reason: str) -> NoReturn:
        raise RwkvError("bad-regex", pattern=self.pattern[:80], at=self.at, reason=reason)

    def whole(self, anywhere: bool) -> Part:
        if anywhere:
            free = characters(ALL, self.json, 0, MANY)
        ways: list[Part] = []
        while True:
            start = self.taken("^")
            part = self.concatenation()
            end = self.taken("$")
            if anywhere:
                part = joined([*([] if start else [free]), part, *([] if end else [free])])
            ways.append(part)
            if not self.taken("|"):
                break
        if self.at < len(self.pattern):
            self.fail(
                f"a {self.pattern[self.at]} that closes nothing"
                if self.pattern[self.at] == ")"
                else "^ and $ are supported at the ends only"
            )
        part = united(ways)
        if (places := places_in(part)) > MOST_PLACES:
            self.fail(f"its repetitions amount to {places} places; {MOST_PLACES} are allowed")
        return part

    # ── reading ──

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def taken(self, text: str) -> bool:
        if found := self.pattern.startswith(text, self.at):
            self.at += len(text)
        return found

    def alternation(self) -> Part:
        ways = [self.concatenation()]
        while self.taken("|"):
            ways.append(self.concatenation())
        return united(ways)

    def concatenation(self) -> Part:
        parts: list[Part] = []
        while (c := self.peek()) and c not in "|)$":
            if c == "^":
                self.fail("^ is supported at the beginning only")
            parts.append(self.repeated(self.atom()))
        return joined(parts)

    def repeated(self, part: Part) -> Part:
        c = self.peek()
        if c and c in "*+?":
            self.at += 1
            low, high = {"*": (0, MANY), "+": (1, MANY), "?": (0, 1)}[c]
        elif c == "{" and (found := re.compile(r"\{(\d{1,9})(,(\d{0,9}))?\}").match(self.pattern, self.at)):
            low = int(found[1])
            high = low if found[2] is None else int(found[3]) if found[3] else MANY
            if high < low or max(low, high % MANY) > MOST_REPEATS:
                self.fail(f"a count must be at most {MOST_REPEATS}, the first not above the second")
            self.at = found.end()
        else:
            return part
        if self.peek() == "+":
            self.fail("possessive repetition is not supported")
        self.taken("?")
        if (c := self.peek()) and (c in "*+?" or re.match(r"\{\d", self.pattern[self.at :])):
            self.fail("there is nothing to repeat")
        return repeat(part, low, high)

    def atom(self) -> Part:
        c = self.peek()
        self.at += 1
        if c == "(":
            return self.group()
        if c == "[":
            return self.of(self.bracket())
        if c == ".":
            return self.of(DOT)
        if c in "*+?" or (c == "{" and re.match(r"\d+(,\d*)?\}", self.pattern[self.at :])):
            self.at -= 1
            self.fail("there is nothing to repeat")
        found = self.escape(False) if c == "\\" else ord(c)
        if isinstance(found, int):
            if 0xD800 <= found < 0xE000:
                self.fail("half of a surrogate pair is no character")
            return self.of(((found, found),))
        return self.of(found)

    def of(self, given: Ranges) -> Part:
        if not given:
            self.fail("a class without any character")
        if len(given) == 1 and given[0][0] == given[0][1]:
            return Text(_spelled(chr(given[0][0]), self.json), 1)
        return characters(given, self.json)

    def group(self) -> Part:
        if self.taken("?"):
            for look in ("<=", "<!", "=", "!"):
                if self.pattern.startswith(look, self.at):
                    self.fail(f"{LOOKS[look]} is not supported")
            name = re.compile(r":|P?<[A-Za-z_]\w*>").match(self.pattern, self.at)
            if not name:
                self.fail("groups are (x), (?:x) or (?<name>x); flags are not supported")
            self.at = name.end()
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(f"more than {DEEPEST} groups inside each other")
        part = self.alternation()
        if self.peek() == "$":
            self.fail("$ is supported at the end only")
        if not self.taken(")"):
            self.fail("a group is not closed")
        self.depth -= 1
        return part

    def escape(self, inside: bool) -> int | Ranges:
        """A character's code, or a class."""
        c = self.peek()
        self.at += 1
        if c in CLASSES and c:
            return CLASSES[c]
        if c in CONTROL and c and not (c == "0" and self.peek().isdigit()):
            return CONTROL[c]
        if c == "b" and inside:
            return 8
        if digits := {"x": 2, "u": 4}.get(c):
            text = self.pattern[self.at : self.at + digits]
            if not re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", text):
                self.fail(f"\\{c} needs {digits} hexadecimal digits")
            self.at += digits
            code = int(text, 16)
            low = re.compile(r"\\u([dD][c-fC-F][0-9A-Fa-f]{2})").match(self.pattern, self.at) if 0xD800 <= code < 0xDC00 else None
            if low:
                self.at = low.end()
                return 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
            return code
        if c and not (c.isalnum() and c.isascii()):
            return ord(c)
        self.at -= 1
        self.fail(
            "a backreference is not supported" if c.isdigit() or c == "k" else f"\\{c} is not supported" if c else "a backslash at the end"
        )

    def bracket(self) -> Ranges:
        negated, found, classes = self.taken("^"), list[tuple[int, int]](), set[Ranges]()
        while not self.taken("]"):
            low = self.member()
            if not isinstance(low, int):
                classes.add(low)
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.member()
                if not isinstance(low, int) or not isinstance(high, int) or high < low:
                    self.fail("a range must go from one character to a later one")
                found.append((low, high))
            else:
                found += [(low, low)] if isinstance(low, int) else low
        if {SPACE, CLASSES["S"]} <= classes:
            found += ALL  # both are narrow, together they mean everything
        return others(ranges(found)) if negated else ranges(found)

    def member(self) -> int | Ranges:
        c = self.peek()
        if not c:
            self.fail("a class is not closed")
        self.at += 1
        return self.escape(True) if c == "\\" else ord(c)


def _spelled(text: str, json: bool) -> bytes:
    if json:
        import json as j

        return j.dumps(text, ensure_ascii=False)[1:-1].encode()
    return text.encode()
