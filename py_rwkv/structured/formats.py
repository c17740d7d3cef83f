"""The formats of JSON schema strings that OpenAI documents, as patterns. Each allows a part of what its standard does, and nothing else."""

from __future__ import annotations

_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_YEAR = r"(0[1-9]|[1-9]\d)\d\d"
_LEAP = r"((0[1-9]|[1-9]\d)(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DATE = f"({_YEAR}-{_DAY}|{_LEAP}-02-29)"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_TIME = _CLOCK + r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_LABEL = r"[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}"
_HOST = rf"{_LABEL}(\.{_LABEL}){{0,2}}"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_HEX = "[0-9A-Fa-f]{1,4}"
_ATOM = "[A-Za-z0-9_+-]{1,30}"
_TIMES = r"T(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S)"
_DAYS = r"(\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D)"


def _ipv6() -> str:
    """Eight groups, or fewer around one `::`."""
    ways = [rf"({_HEX}:){{7}}{_HEX}"]
    for before in range(7):
        head = rf"{_HEX}(:{_HEX}){{{before - 1}}}" if before else ""
        tail = rf"({_HEX}(:{_HEX}){{0,{6 - before - 1}}})?" if before < 6 else ""
        ways.append(f"{head}::{tail}")
    return "|".join(ways)


FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": rf"P(\d{{1,4}}W|{_DAYS}({_TIMES})?|{_TIMES})",
    "email": rf"{_ATOM}(\.{_ATOM}){{0,2}}@{_LABEL}(\.{_LABEL}){{1,2}}",
    "hostname": _HOST,
    "ipv4": rf"{_BYTE}(\.{_BYTE}){{3}}",
    "ipv6": _ipv6(),
    "uuid": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
}
