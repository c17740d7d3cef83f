"""Any kernel as a Program of one call with fresh random inputs: what the pair test runs on every device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from py_rwkv.kernels import KERNELS, Kernel, shape_of
from py_rwkv.kernels.embed import NO_TOKEN
from py_rwkv.kernels.weights import row_bytes, texel
from py_rwkv.program import Buffer, Call, Program, Run, Step
from py_rwkv.quant.blocks import code_of
from py_rwkv.runtime.upload import Upload

SLOTS = 4
CASES = [(kernel, case) for kernel in KERNELS.values() for case in kernel.cases]
IDS = [f"{kernel.name}-{i}" for kernel in KERNELS.values() for i in range(len(kernel.cases))]
STEPS = {
    "one-row": [Run(0, [5])],
    "two-sessions": [Run(2, [1, 2, 3, 4], 1), Run(0, [7, 8, 9], 3, masked=True)],
    "full": [Run(1, list(range(100)), 2, masked=True), Run(3, [9] * 27, 0), Run(0, [30], 1)],
}


def fitted(case: dict[str, Any], subgroups: tuple[int, int]) -> dict[str, Any]:
    """A case for subgroups of a certain size, with that of the adapter; without sharing where the adapter's have none that kernels are written for."""
    size = subgroups[0] if subgroups[0] == subgroups[1] and subgroups[0] in (4, 8) else 0
    alone = {"share": "1", "reduce": "one"}
    found = {key: str(size or alone[key]) for key in alone if case.get(key) in ("4", "8")}
    if found and str(case.get("keys", "")).startswith("16_"):
        found |= {"LANES": size or 1, "WG": size or 4, "keys": f"16_{size}" if size else "16"}
    return case | found


def steps_for(case: dict[str, Any], rng: np.random.Generator) -> dict[str, Step]:
    """The steps with tokens the case's table holds, and for an embedding table rows without a token."""
    first, count = (0, case["V"]) if case.get("BITS") else (case.get("FIRST", 0), case.get("COUNT", 64))

    def draw(n: int) -> list[int]:
        tokens = rng.integers(max(0, first - 5), first + count, n)
        return [int(t) for t in (np.where(rng.random(n) < 0.3, NO_TOKEN, tokens) if "COUNT" in case else tokens)]

    return {name: Step.of([Run(r.slot, draw(len(r.tokens)), r.outputs, r.masked) for r in runs]) for name, runs in STEPS.items()}


def random_bytes(kind: str, shape: tuple[int, ...], encoding: str, rng: np.random.Generator) -> np.ndarray:
    """Encoded weights, or their scales, as raw bytes: matrices [M, K], or a stack of 16-column chunks."""
    rows, columns = shape if len(shape) == 2 else (shape[0], 16)
    per_row = row_bytes(encoding, columns)
    if kind.endswith("scales"):
        if encoding in ("f16", "f32"):
            return np.zeros(4, np.uint8)  # bound, but not read
        scales = scale_codes(rng.uniform(0.5, 1.5, rows * per_row[".scale"]) / np.sqrt(columns) * (0.1 if encoding == "int4" else 1))
        if encoding == "int4":
            scales[1::2] = rng.integers(0, 241, len(scales) // 2)
        return scales
    if encoding == "int8":
        return rng.integers(-127, 128, rows * per_row[""], dtype=np.int8).view(np.uint8)
    if encoding in ("int4", "nf4"):
        return rng.integers(0, 256, rows * per_row[""], dtype=np.uint8)
    dtype = np.float32 if encoding == "f32" else np.float16
    values = (rng.standard_normal((rows, per_row[""] // np.dtype(dtype).itemsize)) / np.sqrt(columns)).astype(dtype)
    values[:, columns : -(-columns // 4) * 4] = 0  # as stored; kernels leave out whole quads only
    return values.reshape(-1).view(np.uint8)


def scale_codes(scale: np.ndarray) -> np.ndarray:
    """The nearest scales' codes, u8."""
    return np.clip(code_of(scale.astype(np.float32)), 0, 255).astype(np.uint8)


def inputs_for(kernel: Kernel, case: dict[str, Any], step: Step, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random arrays for every binding; what a kernel only writes is poisoned with NaN."""
    sizes = {k: v for k, v in case.items() if isinstance(v, int)} | {"slots": SLOTS, "rows": step.rows, "outputs": max(1, step.outputs)}
    sizes |= {"TILES": case.get("M", 0) // 16, "tokens": sizes["outputs"] if case.get("PER_OUTPUT") else step.rows}
    arrays: dict[str, np.ndarray] = {}
    for name, text in [*kernel.reads.items(), *kernel.writes.items()]:
        kind, shape = shape_of(text, sizes)
        if kind in ("weights", "scales", "stack", "stack_scales"):
            arrays[name] = random_bytes(kind, shape, str(case["encoding"]), rng)
        elif kind == "u32":
            arrays[name] = np.full(shape, 0x7FC00000, np.uint32)
        else:
            arrays[name] = rng.standard_normal(shape).astype(np.float32)
    if name == "out" and not case.get("ADD"):  # the last array
        arrays[name].fill(np.nan)
    if kernel.prepare:
        kernel.prepare(rng, SimpleNamespace(**case, **{} if "S" in case else {"S": 1}), **arrays)
    return arrays


def one_call(kernel: Kernel, case: dict[str, Any], arrays: dict[str, np.ndarray]) -> Program:
    """A Program whose only call is this kernel; every buffer is an upload target and readable, but for textures."""
    buffers = tuple(buffer_for(name, a, {**kernel.reads, **kernel.writes}[name], case) for name, a in arrays.items())
    return Program("one", [Call(kernel.name, case, buffers, kernel.grid(case), "test", 0)])


def buffer_for(name: str, array: np.ndarray, declared: str, case: dict[str, Any]) -> Buffer:
    if not declared.startswith(("weights", "stack", "scales")) or case["held"] == "buffers":
        return Buffer(name, array.shape, "u8" if array.dtype == np.uint8 else "f32", "output")
    part, encoding = ".scale" if "scales" in declared else "", case["encoding"]
    if part and encoding in ("f16", "f32"):  # bound, but not read
        part = ""
    return Buffer(name, array.shape, "u8", "weight", held=case["held"], texel=texel(case["held"], encoding, part))


def uploads_for(arrays: dict[str, np.ndarray]) -> tuple[bytes, list[Upload]]:
    """One blob and the uploads that fill every buffer from it."""
    blob, uploads = bytearray(), []
    for name, a in arrays.items():
        uploads.append(Upload(len(blob), a.nbytes, name))
        blob += a.tobytes() + bytes(-a.nbytes % 4)
    return bytes(blob), uploads


def assert_same(kernel: Kernel, case: dict[str, Any], expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> None:
    """Every array of the two devices agrees: integers exactly, floats to 1e-4 of their range (products in f16: 2e-3); untouched poison stays."""
    allowed = 2e-3 if case.get("dots") == "half" else 1e-4
    for name in kernel.writes:
        a, b = expected[name], found[name]
        if name in kernel.unordered:
            a, b = np.sort(a, axis=-1), np.sort(b, axis=-1)
        if a.dtype == np.uint32:
            apart = a != b
            if apart.any():  # logits and sums travel as bits: the same number may end in another bit
                np.testing.assert_allclose(a[apart].view(np.float32), b[apart].view(np.float32), rtol=1e-5, err_msg=name)
            continue
        assert (np.isnan(a) == np.isnan(b)).all(), f"{name}: NaN in different places"
        assert not np.isinf(b).any(), name
        error = float(np.nanmax(np.abs(a - b), initial=0))
        assert error <= allowed * (1 + float(np.nanmax(np.abs(a), initial=0))), f"{name}: max abs error {error}"
