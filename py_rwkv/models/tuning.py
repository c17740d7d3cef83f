"""Which form of the kernels a Program uses: what an adapter can do (`Features`), what may be chosen (`Tuning`, `Choice`), and what is worth trying.

Nothing here runs: runtime/tuner.py measures, runtime/selftest.py checks. A new form of a kernel is one more field of `Tuning`, with the values it may have
in `VALUES`, and one more candidate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from py_rwkv.errors import RwkvError

ONE_TOKEN = "4x1"  # the tile for a token at a time
POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Features:
    """What an adapter can do beyond the baseline that every kernel has."""

    software: bool = False  # a CPU behind the interface of a GPU
    subgroups: tuple[int, int] = (0, 0)  # the least and the greatest size; zeros: none
    f16: bool = False  # `enable f16;`
    packed: bool = False  # dot4I8Packed


@dataclass(frozen=True)
class Tuning:
    """Tile sizes of the kernels that have a choice. Barriers are what software adapters cannot afford (~30 µs each in SwiftShader)."""

    tile: str = ONE_TOKEN  # weight rows × tokens that an invocation (or a group of lanes) computes
    lanes: int = 1  # invocations that share a tile
    sums: str = "memory"  # how their parts are added: through workgroup memory, or within a subgroup, which has at least so many
    share: int = 1  # invocations of a subgroup, exactly, that share what they load of the input; 1: each loads it all. Needs lanes == 1
    # or "packed": products of int8 matrices take inputs rounded to 8 bits, four at a time; or "half": products are f16. Both need share == 1
    dots: str = "float"
    held: str = "buffers"  # where weights lie: in buffers, or in textures that are read as "images" (by address) or as "textures" (by the sampler's way)
    workgroup: int = 16
    norm_workgroup: int = 16
    norm_channels: int = 4  # vec4s of a row per invocation; 0: so many that a workgroup has a whole row
    wkv_rows: int = 4  # state rows per invocation
    whole_heads: bool = True  # one workgroup or invocation sees a whole head: what follows the recurrence needs no dispatch of its own
    narrow: int = 1  # a step of at most so many rows runs the decode program, a longer one the prefill program
    chunk: int = 32  # rows of a prefill step: at most ~100 ms, so that stop works at any time

    @property
    def reduce(self) -> str:
        return "one" if self.lanes == 1 else "many"

    @property
    def sum(self) -> str:
        """What a product does with the parts that lanes have of it."""
        return "subgroup" if self.lanes > 1 and self.sums == "subgroup" else self.reduce

    @property
    def exact(self) -> bool:
        """Whether all arithmetic is f32: the self-test allows forms that round activations more."""
        return self.dots == "float"


VALUES: dict[str, tuple[Any, ...]] = {
    "tile": ("4x1", "4x4", "4x8", "4x16"),
    "lanes": POWERS[:7],
    "sums": ("memory", "subgroup"),
    "share": (1, 4, 8),
    "dots": ("float", "packed", "half"),
    "held": ("buffers", "images", "textures"),
    "workgroup": POWERS,
    "norm_workgroup": POWERS,
    "norm_channels": (0, *POWERS[:5]),
    "wkv_rows": (1, 2, 4),
    "whole_heads": (False, True),
    "narrow": tuple(range(1, 17)),
    "chunk": (16, 32, 64, 128),
}


@dataclass(frozen=True)
class Choice:
    """What one model runs with on one adapter: a form for each of its two programs. `narrow` counts in `decode`, `chunk` in `prefill`. RwkvError `bad-setting`
    when they want the same weights in different places."""

    decode: Tuning
    prefill: Tuning

    def __post_init__(self) -> None:
        if self.decode.held != self.prefill.held:
            found = f"{self.decode.held}, {self.prefill.held}"
            raise RwkvError("bad-setting", name="tuning", expected="the same `held` for decode and prefill", found=found)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Choice | None:
        """What `to_json` gave; None for anything else, such as one that a newer version of the package has stored."""
        if not isinstance(data, dict) or set(data) != {"decode", "prefill"}:
            return None
        decode, prefill = (_tuning(data[name]) for name in ("decode", "prefill"))
        return cls(decode, prefill) if decode and prefill and decode.held == prefill.held else None


def _tuning(data: object) -> Tuning | None:
    if not isinstance(data, dict) or set(data) != {f.name for f in fields(Tuning)}:
        return None
    if not all(any(value is v or (type(value) is type(v) and value == v) for v in VALUES[name]) for name, value in data.items()):
        return None
    fits = data["lanes"] <= data["workgroup"] and 1 in (data["lanes"], data["share"]) and (data["dots"] == "float" or data["share"] == 1)
    return Tuning(**data) if fits else None


SOFTWARE = Tuning(narrow=2)  # lavapipe: two rows take 0.85–0.95 of the prefill program's time in the decode program, three 1.2 times
HARDWARE = Tuning(lanes=16, workgroup=64, norm_workgroup=64, norm_channels=1, wkv_rows=1, chunk=128)


# By `share`, too: which software adapter it is. lavapipe (8) reads f16 2.4 times, int8 1.8 times as fast from images; SwiftShader (4) f16 1.3 times from textures.
HELD = {1: "buffers", 4: "textures", 8: "images"}
# By `share`. SwiftShader (4) multiplies a tenth faster with 4x16, but compiles each kernel 0.4 s longer.
PREFILL_TILES = {1: "4x4", 4: "4x8", 8: "4x16"}


def prefill_tuning(decode: Tuning) -> Tuning:
    """The tile for many rows at once: each decoded weight serves several tokens. A lone invocation has no time for a whole head, row after row. Where every
    subgroup sums a row for itself, one has the whole row: there are rows enough."""
    form = replace(decode, tile=PREFILL_TILES[decode.share], whole_heads=decode.lanes > 1)
    return replace(form, norm_workgroup=decode.share, norm_channels=0) if decode.share > 1 else form


def choice_of(decode: Tuning) -> Choice:
    """A form for decoding, and what goes with it for prefill."""
    return Choice(decode, prefill_tuning(decode))


# Nothing shared between invocations, no optional feature, the plainest form of every kernel: what is left when a driver computes wrongly.
SAFE = Choice(Tuning(whole_heads=False), Tuning(whole_heads=False, chunk=16))


def preset(features: Features) -> Choice:
    """What an adapter gets without any measurement."""
    least, most = features.subgroups
    share = least if least == most and least in VALUES["share"] else 1
    return choice_of(replace(SOFTWARE, share=share, held=HELD[share]) if features.software else HARDWARE)


def candidates(features: Features, rounded: bool = False) -> list[Tuning]:
    """Forms for decoding that are worth a measurement on such an adapter; the first is the preset's. rounded: with those that round activations."""
    first = preset(features).decode
    others = [replace(first, share=1, dots=dots) for dots in _rounding(features) if rounded]
    if features.software:
        return [first, *others] + [replace(first, workgroup=n) for n in (8, 32)]
    shared = [replace(first, lanes=n, workgroup=w) for n, w in ((8, 64), (32, 64), (32, 128), (16, 128), (64, 64), (4, 64))]
    within = [replace(form, sums="subgroup") for form in (first, *shared) if form.lanes <= features.subgroups[0]]
    return [first, *others, *within[:1], *shared, *within[1:], replace(first, norm_workgroup=128), replace(first, norm_workgroup=256)]


def prefill_candidates(features: Features, decode: Tuning, rounded: bool = False) -> list[Tuning]:
    """Forms for prefill beside a form for decoding; the first is what goes with it unmeasured."""
    first = prefill_tuning(decode)
    exact = prefill_tuning(preset(features).decode)
    others = [replace(exact, share=1, dots=dots, tile="4x8") for dots in _rounding(features) if rounded]
    if not first.exact:
        others.append(exact)
    if features.software:
        return [first, *others] + [replace(first, workgroup=n) for n in (8, 32) if n != first.workgroup]
    pairs = dict.fromkeys([(first.lanes, first.workgroup), (1, 64), (4, 64), (8, 64), (16, 64)])
    forms = [replace(first, lanes=n, workgroup=w, sums=first.sums if 1 < n <= features.subgroups[0] else "memory") for n, w in pairs]
    return forms[:1] + others + forms[1:]


def _rounding(features: Features) -> list[str]:
    """The products that round activations. Software adapters do f16 by way of f32: nothing to gain there."""
    return ["packed"] * features.packed + ["half"] * (features.f16 and not features.software)


def chunks(features: Features) -> tuple[int, ...]:
    """Lengths of a prefill step worth a measurement."""
    return (16, 32, 64) if features.software else (32, 64, 128)
