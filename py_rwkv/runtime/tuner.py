"""The forms of the kernels a model runs with on an adapter: stored, measured or preset, and held against known logits. docs/tuning.md"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal

from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.models.tuning import SAFE, Choice, Tuning, choice_of, preset
from py_rwkv.program import Program
from py_rwkv.runtime import selftest
from py_rwkv.runtime.kept import Kept
from py_rwkv.runtime.race import PATIENCE, Progress, measure

Mode = Literal["auto", "preset", "measure", "rounded"]
MODES = ("auto", "preset", "measure", "rounded")
FAILURES = ("wrong-numerics", "kernel-failed")  # of a form, not of the device: another one may do


class Tuner:
    """What one load of a model does about it. `kept`: where choices and passed tests are stored; build: what they belong to in this package.

    mode: `auto`: the stored choice, else a measurement on hardware and the preset on software adapters, where compiling candidates takes longer than they gain;
    `measure`: a new measurement everywhere; `rounded`: the same with forms that round activations among the candidates; `preset`: neither measured nor stored;
    or the forms themselves.
    """

    def __init__(self, kept: Kept, build: str, mode: Mode | Tuning | Choice = "auto") -> None:
        if isinstance(mode, str) and mode not in MODES:
            raise RwkvError("bad-setting", name="tuning", expected=" | ".join(MODES), found=mode)
        self.kept, self.build = kept, build
        self.mode: Mode | Choice = choice_of(mode) if isinstance(mode, Tuning) else mode
        self.asked = mode in ("measure", "rounded")
        self.patience = 60.0 if self.asked else PATIENCE
        self.report: dict[str, Any] = {}  # what was done, for people
        self._later: tuple[Device, Manifest, Choice] | None = None

    async def settle(
        self,
        device: Device,
        manifest: Manifest,
        prepare: Callable[[], Awaitable[Sequence[Program]]],
        *,
        measurable: bool = True,
        progress: Progress | None = None,
    ) -> Sequence[Program]:
        """The Programs that `prepare` made last, in forms that passed the self-test. RwkvError `wrong-numerics` or `kernel-failed` when none do.

        In the page on a software adapter the test is left to `verify`: it needs pipelines that otherwise compile after the model is ready.
        """
        if device.kind == "numpy":
            return await prepare()
        given = isinstance(self.mode, Choice) or device.given
        stored = await self._stored(device, manifest) if self.mode == "auto" and not given else None
        first = self.mode if isinstance(self.mode, Choice) else stored or Choice(device.decode, device.prefill)
        source = "given" if given else "stored" if stored else "preset"
        wants = measurable and (self.asked or (self.mode == "auto" and source == "preset" and not device.features.software))
        failure, failed = None, set[Choice]()
        for choice in (first, preset(device.features), SAFE):
            if choice in failed:
                continue
            try:
                device.tune(choice)
                programs = await prepare()
                if wants and not failure:
                    best = await measure(device, manifest, programs, progress, self.patience, self.mode == "rounded")
                    before, choice, source = choice, best, "measured"
                    if choice != before:
                        device.tune(choice)
                        programs = await prepare()
                self._tell(source, choice)
                if device.features.software and not device.blocking and source != "measured" and not failure:
                    self._later = (device, manifest, choice)
                else:
                    await self._check(device, manifest, choice)
            except RwkvError as e:
                failure = _of_form(e)
                failed.add(choice)
                continue
            if failure:
                self._tell("fallback", choice, failure)
            if source == "measured" or (failure and not given):
                await self._keep(device, manifest, choice)
            return programs
        raise failure or RwkvError("internal", reason="no form was tried")

    async def verify(self) -> bool:
        """The self-test that `settle` has left for later. False: the model computes wrongly, and forms that do not are stored for the next load.

        RwkvError `wrong-numerics` or `kernel-failed` when there are none.
        """
        if not self._later:
            return True
        (device, manifest, first), self._later = self._later, None
        failure, failed = None, set[Choice]()
        for choice in (first, preset(device.features), SAFE):
            if choice in failed:
                continue
            try:
                await self._check(device, manifest, choice)
            except RwkvError as e:
                failure = _of_form(e)
                failed.add(choice)
                continue
            if failure:
                await self._keep(device, manifest, choice)
            return failure is None
        raise failure or RwkvError("internal", reason="no form was tried")

    async def _stored(self, device: Device, manifest: Manifest) -> Choice | None:
        text = await self.kept.get(self._key("choice", device, shape(manifest)))
        with suppress(ValueError, RecursionError):
            return Choice.from_json(json.loads(text)) if text else None
        return None

    async def _keep(self, device: Device, manifest: Manifest, choice: Choice) -> None:
        await self.kept.put(self._key("choice", device, shape(manifest)), json.dumps(choice.to_json()))

    async def _check(self, device: Device, manifest: Manifest, choice: Choice) -> None:
        """The self-test of every encoding the model's layers have, unless it has been passed before."""
        version = manifest.config.version
        for encoding, emb, head in selftest.kinds(manifest):
            key = self._key("passed", device, {"test": [version, encoding, emb, head], **choice.to_json()})
            if await self.kept.get(key) is None:
                began = perf_counter()
                error = await selftest.check(device, choice, version, encoding, emb, head)
                await self.kept.put(key, f"{error:.2g}")
                self.report["test_ms"] = round(1e3 * (perf_counter() - began) + self.report.get("test_ms", 0), 1)

    def _tell(self, source: str, choice: Choice, failure: RwkvError | None = None) -> None:
        self.report |= {"source": source, **choice.to_json()} | ({"failure": failure.to_dict()} if failure else {})

    def _key(self, what: str, device: Device, facts: dict[str, Any]) -> str:
        return json.dumps([what, self.build, device.identity, facts])


def shape(manifest: Manifest) -> dict[str, Any]:
    """What a choice depends on in a model: all but its depth."""
    c = manifest.config
    return {"version": c.version, "embd": c.embd, "ffn": c.ffn, "head": c.head_size, "vocab": c.vocab, "quant": manifest.quantization}


def _of_form(error: RwkvError) -> RwkvError:
    """The error, if other forms may be without it; else it is raised."""
    if error.code not in FAILURES:
        raise error
    return error
