"""Choosing the forms of the kernels: what may be chosen, where it is stored, and what happens when a form computes wrongly. No GPU."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from models import packed
from tiny_model import weights

from py_rwkv.errors import RwkvError
from py_rwkv.models.tuning import (
    HARDWARE,
    SAFE,
    SOFTWARE,
    VALUES,
    Choice,
    Features,
    Tuning,
    candidates,
    choice_of,
    chunks,
    prefill_candidates,
    preset,
)
from py_rwkv.native import open_model
from py_rwkv.runtime import kept, tuner
from py_rwkv.runtime.kept import KeptFile
from py_rwkv.runtime.tuner import Tuner

MANIFEST, _ = packed(weights(), "int8")
FAST = choice_of(replace(HARDWARE, lanes=8))
WRONG = RwkvError("wrong-numerics", adapter="it", what="a test", error="1", allowed=0)


@pytest.mark.parametrize("software", [True, False])
def test_the_preset_is_the_first_of_the_forms_worth_a_try(software: bool) -> None:
    features = Features(software)
    forms = candidates(features)
    assert forms[0] == preset(features).decode == (SOFTWARE if software else HARDWARE)
    tiles = prefill_candidates(features, forms[0])
    assert tiles[0] == preset(features).prefill
    for tried in (forms, tiles):
        assert len(set(tried)) == len(tried) > 2
        for form in tried:
            assert Choice.from_json(json.loads(json.dumps(choice_of(form).to_json()))) == choice_of(form)
    assert set(chunks(features)) <= set(VALUES["chunk"])


def test_subgroups_add_up_only_what_fits_into_them() -> None:
    for least in (0, 4, 16, 32, 64):
        forms = candidates(Features(subgroups=(least, 64)))
        within = [form for form in forms if form.sums == "subgroup"]
        assert bool(within) == (least > 0) and all(form.lanes <= least for form in within)
        for form in forms:
            assert all(tile.sums == "memory" or tile.lanes <= least for tile in prefill_candidates(Features(subgroups=(least, 64)), form))


@pytest.mark.parametrize("software", [True, False])
def test_forms_that_round_take_part_only_when_they_are_asked_for(software: bool) -> None:
    features = Features(software, subgroups=(8, 8), packed=True)
    first = preset(features).decode
    packed = replace(first, share=1, dots="packed")
    assert not packed.exact and first.exact and packed in candidates(features, True) and packed not in candidates(features)
    for decode in (first, packed):
        tiles = prefill_candidates(features, decode, True)
        assert {tile.exact for tile in tiles} == {True, False} and tiles[0].exact == decode.exact and len(set(tiles)) == len(tiles)
    assert all(tile.exact for tile in prefill_candidates(features, first))
    assert all(form.exact for form in candidates(replace(features, packed=False), True))
    assert Choice.from_json(choice_of(packed).to_json()) == choice_of(packed)


def test_both_programs_find_the_weights_in_one_place() -> None:
    assert {preset(Features(True, (n, n))).decode.held for n in (0, 4, 8)} == {"buffers", "textures", "images"}
    assert preset(Features()).decode.held == "buffers"
    with pytest.raises(RwkvError, match="images, buffers") as caught:
        Choice(replace(SAFE.decode, held="images"), SAFE.prefill)
    assert caught.value.code == "bad-setting"


def test_products_in_f16_are_for_hardware_that_has_them() -> None:
    hardware = Features(subgroups=(32, 32), f16=True)
    for found in (candidates(hardware, True), prefill_candidates(hardware, preset(hardware).decode, True)):
        assert [form.dots for form in found if not form.exact] == ["half"]
    assert all(form.exact for form in candidates(hardware) + candidates(replace(hardware, software=True), True))


def hostile() -> list[Any]:
    """What a stored choice may have become."""
    good = SAFE.to_json()
    changed = [
        {"lanes": 3},
        {"sums": "elsewhere"},
        {"lanes": "1"},
        {"lanes": True},
        {"lanes": 1.0},
        {"tile": "../../etc/passwd"},
        {"tile": ["4x1"]},
        {"workgroup": 1 << 40},
        {"workgroup": 8, "lanes": 64},
        {"dots": "double"},
        {"dots": "half", "share": 4},
        {"held": "images"},  # the other form: in buffers
        {"dots": "packed", "share": 8},
        {"whole_heads": 1},
        {"chunk": 129},
        {"narrow": 0},
        {"new": 1},
    ]
    lacking = {k: v for k, v in good["decode"].items() if k != "tile"}
    return [
        None,
        [],
        "x",
        {},
        {"decode": good["decode"]},
        good | {"more": 1},
        good | {"prefill": None},
        good | {"decode": lacking},
        *(good | {"decode": good["decode"] | c} for c in changed),
    ]


@pytest.mark.parametrize("data", hostile())
def test_a_stored_choice_that_makes_no_sense_is_none(data: Any) -> None:
    assert Choice.from_json(data) is None
    assert Choice.from_json(SAFE.to_json()) == SAFE


# ── where it is kept ──


def test_a_file_keeps_texts_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept, "MOST", 3)
    file = KeptFile()
    assert file.path == tmp_path / "py_rwkv" / "tuning.json"
    assert asyncio.run(file.get("a")) is None
    for i in range(5):
        asyncio.run(file.put(str(i), "x" * i))
    asyncio.run(file.put("3", "again"))
    assert [asyncio.run(KeptFile().get(str(i))) for i in range(5)] == [None, None, "xx", "again", "xxxx"]
    for damage in ("", "{", "[]", '{"3": 4}', "[" * 100_000, "\x00"):
        file.path.write_text(damage)
        assert asyncio.run(file.get("3")) is None
        asyncio.run(file.put("3", "new"))
        assert asyncio.run(file.get("3")) == "new"
    file.path.write_bytes(b"\xff\xfe")
    assert asyncio.run(file.get("3")) is None
    assert [p.name for p in file.path.parent.iterdir()] == ["tuning.json"]


def test_a_cache_folder_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = KeptFile(tmp_path / "file" / "tuning.json")
    asyncio.run(file.put("a", "b"))
    assert asyncio.run(file.get("a")) is None


def test_the_build_is_known_by_its_shaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.build()
    (tmp_path / "one.wgsl").write_text("// another")
    monkeypatch.setattr(kept, "shader_dir", lambda: tmp_path)
    kept.build.cache_clear()
    assert kept.build() != before
    kept.build.cache_clear()


# ── choosing ──


class Memory:
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        return self.texts.get(key)

    async def put(self, key: str, text: str) -> None:
        self.texts[key] = text


class Bench:
    """A device of no kind: `right` says which forms compute rightly, and what was done is written down."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, right: Any = lambda choice: True, *, software: bool = False, blocking: bool = True
    ) -> None:
        self.features, self.identity, self.given = Features(software), "it 1.0", False
        self.kind, self.adapter, self.blocking, self.log = "webgpu", "it", blocking, []
        self.decode, self.prefill = preset(self.features).decode, preset(self.features).prefill
        self.right = right
        monkeypatch.setattr(tuner, "measure", self.measure)
        monkeypatch.setattr(tuner.selftest, "check", self.check)

    def tune(self, choice: Choice) -> None:
        self.decode, self.prefill = choice.decode, choice.prefill

    async def prepare(self) -> Sequence[Any]:
        self.log.append("prepare")
        return [SimpleNamespace(choice=Choice(self.decode, self.prefill))]

    async def measure(self, *given: Any) -> Choice:
        self.log.append("measure rounded" if given[-1] else "measure")
        return FAST

    async def check(self, device: Any, choice: Choice, version: str, encoding: str, emb: str, head: str) -> float:
        self.log.append("check")
        if not self.right(choice):
            raise WRONG
        return 0.0

    def load(self, chooser: Tuner, **more: Any) -> Choice:
        """One load; the forms its Programs have."""
        self.log.clear()
        self.tune(preset(self.features))
        [program] = asyncio.run(chooser.settle(self, MANIFEST, self.prepare, **more))  # type: ignore[arg-type]
        found: Choice = program.choice
        assert (found.decode, found.prefill) == (self.decode, self.prefill)
        return found


def test_hardware_is_measured_once_and_tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, memory = Bench(monkeypatch), Memory()
    chooser = Tuner(memory, "1")
    assert bench.load(chooser) == FAST and chooser.report["source"] == "measured"
    assert bench.log == ["prepare", "measure", "prepare", "check"]
    chooser = Tuner(memory, "1")
    assert bench.load(chooser) == FAST and chooser.report["source"] == "stored"
    assert bench.log == ["prepare"]
    for key in memory.texts:
        memory.texts[key] = "{"
    assert bench.load(Tuner(memory, "1")) == FAST and "measure" in bench.log
    assert bench.load(Tuner(memory, "2")) == FAST and bench.log == ["prepare", "measure", "prepare", "check"]
    bench.identity = "it 1.1"
    assert bench.load(Tuner(memory, "2")) == FAST and "measure" in bench.log and "check" in bench.log


def test_a_software_adapter_is_measured_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, memory = Bench(monkeypatch, software=True), Memory()
    own = preset(bench.features)
    assert bench.load(Tuner(memory, "")) == own and bench.log == ["prepare", "check"]
    assert bench.load(Tuner(memory, "", "preset")) == own and bench.log == ["prepare"]
    assert bench.load(Tuner(memory, "", "measure"), measurable=False) == own and "measure" not in bench.log
    assert bench.load(Tuner(memory, "", "measure")) == FAST
    assert bench.load(Tuner(memory, "")) == FAST and bench.log == ["prepare"]
    assert bench.load(Tuner(memory, "", "rounded")) == FAST and "measure rounded" in bench.log
    assert bench.load(Tuner(memory, "", SAFE)) == SAFE and bench.load(Tuner(memory, "", HARDWARE)) == choice_of(HARDWARE)
    bench.given = True
    assert bench.load(Tuner(memory, "")) == own


def test_a_form_that_computes_wrongly_gives_way_and_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = preset(Features())
    for right, expected in ((lambda c: c != FAST, own), (lambda c: c == SAFE, SAFE)):
        bench, memory = Bench(monkeypatch, right), Memory()
        chooser = Tuner(memory, "")
        assert bench.load(chooser) == expected
        assert chooser.report["source"] == "fallback" and chooser.report["failure"]["code"] == "wrong-numerics"
        assert bench.load(Tuner(memory, "")) == expected and bench.log == ["prepare"]


def test_no_form_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, memory = Bench(monkeypatch, lambda choice: False), Memory()
    for _ in range(2):
        with pytest.raises(RwkvError, match="computes wrongly") as caught:
            bench.load(Tuner(memory, ""))
        assert caught.value.code == "wrong-numerics" and not memory.texts
    assert bench.log.count("check") == 3


def test_other_errors_are_not_about_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)

    async def lost() -> Sequence[Any]:
        bench.log.append("prepare")
        raise RwkvError("device-lost", reason="gone")

    with pytest.raises(RwkvError, match="gone"):
        asyncio.run(Tuner(Memory(), "").settle(bench, MANIFEST, lost))  # type: ignore[arg-type]
    assert bench.log == ["prepare"]


def test_a_kernel_that_does_not_compile_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, prepare = Bench(monkeypatch), Bench.prepare

    async def refused() -> Sequence[Any]:
        if bench.decode.lanes > 1:
            raise RwkvError("kernel-failed", kernel="matmul", reason="no")
        return await prepare(bench)

    monkeypatch.setattr(bench, "prepare", refused)
    assert bench.load(Tuner(Memory(), "")) == SAFE


def test_in_the_page_a_software_adapter_is_tested_after_the_model_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    own = preset(Features(True))
    bench, memory = Bench(monkeypatch, lambda c: c != own, software=True, blocking=False), Memory()
    chooser = Tuner(memory, "")
    assert bench.load(chooser) == own and bench.log == ["prepare"]
    assert not asyncio.run(chooser.verify()) and asyncio.run(chooser.verify())
    chooser = Tuner(memory, "")
    assert bench.load(chooser) == SAFE and asyncio.run(chooser.verify())
    bench.right = lambda choice: False
    chooser = Tuner(Memory(), "")
    assert bench.load(chooser) == own
    with pytest.raises(RwkvError, match="computes wrongly"):
        asyncio.run(chooser.verify())


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RwkvError, match="not fastest"):
        Tuner(Memory(), "", "fastest")  # type: ignore[arg-type]
    monkeypatch.setenv("PY_RWKV_TUNING", "slow")
    with pytest.raises(RwkvError, match="not slow"):
        asyncio.run(open_model("demo", "cpu"))


def test_lanes_never_exceed_a_workgroup() -> None:
    for features in (Features(), Features(True)):
        for form in (*candidates(features), *prefill_candidates(features, candidates(features)[0]), SAFE.decode, SAFE.prefill, Tuning()):
            assert form.lanes <= form.workgroup and form.workgroup % form.lanes == 0
