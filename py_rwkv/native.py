"""Opening a model outside the page: a path and a device name → an engine. What the command line, tests and scripts use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from py_rwkv.checkpoint.convert import load_model, open_lora
from py_rwkv.checkpoint.lora import Lora
from py_rwkv.checkpoint.tokenizer_file import wanted_tokenizer
from py_rwkv.devices.base import Device
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Hook
from py_rwkv.models.tuning import Choice, Tuning
from py_rwkv.resources import web_dir
from py_rwkv.runtime.engine import Engine, Progress
from py_rwkv.runtime.kept import KeptFile, build
from py_rwkv.runtime.tuner import Mode, Tuner

DEVICES = ("auto", "gpu", "cpu")
Warn = Callable[[RwkvError], None]


def open_device(name: str = "auto", warn: Warn | None = None) -> Device:
    """`gpu`: wgpu, RwkvError `no-adapter` without one; `cpu`: numpy; `auto`: wgpu, else numpy after telling `warn`."""
    from py_rwkv.devices.numpy_device import NumpyDevice

    if name not in DEVICES:
        raise RwkvError("bad-setting", name="device", expected=" | ".join(DEVICES), found=name)
    if name != "cpu":
        from py_rwkv.devices.wgpu_device import WgpuDevice

        try:
            return WgpuDevice()
        except RwkvError as e:
            if name == "gpu":
                raise
            if warn:
                warn(e)
    return NumpyDevice()


def find_model(name: str | os.PathLike[str]) -> str:
    """A path or URL as it is; the name of an embedded model (`demo`) as its directory."""
    text = os.fspath(name)
    embedded = web_dir() / "models" / text
    return str(embedded) if text.isidentifier() and not os.path.exists(text) and embedded.is_dir() else text


class _Ready:
    """Shards that are read at once, behind the engine's asynchronous interface."""

    def __init__(self, shards: Any) -> None:
        self.shards = shards

    async def read(self, index: int) -> bytes:
        data: bytes = self.shards.read(index)
        return data


async def open_model(
    path: str | os.PathLike[str],
    device: str | Device = "auto",
    *,
    quantization: str | None = None,
    loras: Sequence[str | Lora] = (),
    group_norm_eps: float | None = None,
    tokenizer: str | None = None,
    slots: int = 4,
    max_outputs: int | None = None,
    hooks: Sequence[Hook] = (),
    tuning: Mode | Tuning | Choice | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Engine:
    """A model directory, a `.pth` or `.safetensors`, or `demo`, ready to run.

    A checkpoint is converted in memory: `quantization` None keeps the file's precision, `loras` (`FILE:ALPHA`, see `parse_lora`) are merged first, and
    `group_norm_eps` is for those not trained with 64e-5. tokenizer: `world`, `bytes`, `none`, or a file (docs/tokenizers.md);
    None: the model's own. hooks: docs/hooks.md. tuning: docs/tuning.md; None: $PY_RWKV_TUNING, else `auto`.
    """
    report = progress or (lambda phase, done, total, unit: None)
    manifest, shards = await load_model(
        find_model(path),
        strategy=quantization,
        loras=[open_lora(lora) if isinstance(lora, str) else lora for lora in loras],
        group_norm_eps=group_norm_eps,
        tokenizer=wanted_tokenizer(tokenizer) if tokenizer else None,
        progress=lambda _, done, total: report("convert", done, total, "bytes"),
    )
    target = open_device(device, warn) if isinstance(device, str) else device
    more: dict[str, Any] = {"hooks": hooks, "tokenizer": shards.tokenizer(), "tuner": open_tuner(tuning), "progress": progress}
    return await Engine.load(manifest, _Ready(shards), target, slots=slots, max_outputs=max_outputs, **more)


def open_tuner(tuning: Mode | Tuning | Choice | None = None) -> Tuner:
    """What chooses the forms of the kernels, with this machine's stored choices. RwkvError `bad-setting` for an unknown mode."""
    mode: Any = os.environ.get("PY_RWKV_TUNING") or "auto"
    return Tuner(KeptFile(), build(), mode if tuning is None else tuning)
