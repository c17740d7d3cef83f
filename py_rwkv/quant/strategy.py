"""Strategy strings: which matrix is stored in which encoding. `int8`, or with exceptions: `int8, head=f16`."""

from __future__ import annotations

from dataclasses import dataclass, field

from py_rwkv.errors import RwkvError
from py_rwkv.quant.encoding import Encoding
from py_rwkv.quant.int8 import int8
from py_rwkv.quant.plain import f16, f32

ENCODINGS: dict[str, Encoding] = {e.name: e for e in (f32, f16, int8)}
PLACES = {"emb": "emb.weight", "head": "head.weight"}  # what an exception can name


@dataclass(frozen=True)
class Strategy:
    """`text` in its normal form, the encoding of every matrix, and the exceptions {tensor name: encoding}."""

    text: str
    default: str
    exceptions: dict[str, str] = field(default_factory=dict, hash=False)

    def encoding(self, name: str) -> str:
        """The name of the encoding in which the matrix `name` (official name) is stored."""
        return self.exceptions.get(name, self.default)


def parse_strategy(text: str) -> Strategy:
    """RwkvError `unknown-strategy` names the part that is not understood, and the choices."""
    first, *rest = (part.strip() for part in text.split(","))
    exceptions = {}
    for part in rest:
        place, _, encoding = (p.strip() for p in part.partition("="))
        if place not in PLACES:
            raise RwkvError("unknown-strategy", found=part[:80], choices=", ".join(f"{p}=ENCODING" for p in PLACES))
        exceptions[PLACES[place]] = _known(encoding)
    return Strategy(", ".join([_known(first), *(f"{p}={exceptions[n]}" for p, n in PLACES.items() if n in exceptions)]), first, exceptions)


def _known(encoding: str) -> str:
    if encoding not in ENCODINGS:
        raise RwkvError("unknown-strategy", found=encoding[:80], choices=", ".join(ENCODINGS))
    return encoding
