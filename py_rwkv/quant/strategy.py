"""Strategy strings: which matrix is stored in which encoding. `int8`; `int8 *20 -> f16`: so for the first 20 layers, f16 for the others; `nf4, head=int8`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import accumulate

from py_rwkv.errors import RwkvError
from py_rwkv.quant.encoding import Encoding
from py_rwkv.quant.int4 import int4
from py_rwkv.quant.int8 import int8
from py_rwkv.quant.nf4 import nf4
from py_rwkv.quant.plain import f16, f32

ENCODINGS: dict[str, Encoding] = {e.name: e for e in (f32, f16, int8, int4, nf4)}
# What can have an encoding of its own. Not less than a layer's half: kernels read its projections and low-rank factors as one matrix.
PLACES = {"emb": r"emb\.", "att": r"blocks\.\d+\.att\.", "ffn": r"blocks\.\d+\.ffn\.", "head": r"head\."}


@dataclass(frozen=True)
class Strategy:
    """`text` in its normal form; `layers`: (first layer after, encoding) of every part but the last, and `rest`, that of the last; `places` override both."""

    text: str
    layers: tuple[tuple[int, str], ...]
    rest: str
    places: dict[str, str] = field(default_factory=dict, hash=False)

    def encoding(self, name: str) -> str:
        """The encoding in which the matrix `name` (official name) is stored. The embedding goes with the first layer and the head with the last."""
        for place, encoding in self.places.items():
            if re.match(PLACES[place], name):
                return encoding
        layer = re.match(r"blocks\.(\d+)\.", name)
        number = int(layer[1]) if layer else 0 if name == "emb.weight" else None
        return next((encoding for end, encoding in self.layers if number is not None and number < end), self.rest)


def parse_strategy(text: str) -> Strategy:
    """`ENCODING [*LAYERS -> ENCODING …] [, PLACE=ENCODING …]`. RwkvError `unknown-strategy` names the part that is not understood, and the choices."""
    whole, *rest = (part.strip() for part in text.split(","))
    *first, last = (part.strip() for part in whole.split("->"))
    counted = [_counted(part) for part in first]
    ends = accumulate(count for _, count in counted)
    given = dict(_place(part) for part in rest)
    places = {place: given[place] for place in PLACES if place in given}
    normal = " -> ".join([*(f"{encoding} *{count}" for encoding, count in counted), _known(last)])
    layers = tuple((end, encoding) for end, (encoding, _) in zip(ends, counted, strict=True))
    return Strategy(", ".join([normal, *(f"{place}={encoding}" for place, encoding in places.items())]), layers, last, places)


def _counted(part: str) -> tuple[str, int]:
    encoding, _, count = (p.strip() for p in part.partition("*"))
    if not re.fullmatch(r"[1-9]\d{0,3}", count):
        raise RwkvError("unknown-strategy", found=part[:80], choices="ENCODING *LAYERS -> ENCODING, the last one for all other layers")
    return _known(encoding), int(count)


def _place(part: str) -> tuple[str, str]:
    place, _, encoding = (p.strip() for p in part.partition("="))
    if place not in PLACES:
        raise RwkvError("unknown-strategy", found=part[:80], choices=", ".join(f"{p}=ENCODING" for p in PLACES))
    return place, _known(encoding)


def _known(encoding: str) -> str:
    if encoding not in ENCODINGS:
        raise RwkvError("unknown-strategy", found=encoding[:80], choices=", ".join(ENCODINGS))
    return encoding
