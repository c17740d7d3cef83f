"""Programs as data: budgets that may only go down, the step block, and limits of the smallest adapter."""

from __future__ import annotations

import struct
from array import array
from dataclasses import replace
from types import SimpleNamespace

import pytest

from py_rwkv.checkpoint.layout import layout
from py_rwkv.devices.textures import rectangles
from py_rwkv.errors import RwkvError
from py_rwkv.kernels.base import call_block, render
from py_rwkv.models import emit
from py_rwkv.models.builder import Builder, Limits
from py_rwkv.models.config import Config
from py_rwkv.models.tuning import HARDWARE, SOFTWARE, prefill_tuning
from py_rwkv.program import BLOCK_BYTES, MAX_ROWS, TEXEL_FORMATS, TEXTURE_ROW, Call, Program, Run, Step
from py_rwkv.quant import ENCODINGS
from py_rwkv.runtime.programs import MAX_OUTPUTS
from py_rwkv.runtime.upload import plan

DEMO = Config("7", 6, 256, 4, 64, 1024, 65536, {"w": 32, "a": 32, "v": 32, "g": 64})
BIG = Config("7", 32, 2560, 40, 64, 10240, 65536, {"w": 96, "a": 96, "v": 64, "g": 320})  # 2.9B
OLDER = {
    "4": Config("4", 3, 256, 1, 256, 1024, 50277),
    "5.0": Config("5.0", 3, 256, 4, 64, 896, 65536),
    "5.1": Config("5.1", 3, 256, 4, 64, 896, 65536),
    "5.2": Config("5.2", 3, 256, 4, 64, 896, 65536),
    "6": Config("6", 3, 256, 4, 64, 896, 65536, {"mix": 32, "decay": 64}),
}
BIG_OLDER = (  # 3B
    Config("4", 32, 2560, 1, 2560, 10240, 65536),
    Config("5.2", 32, 2560, 40, 64, 8960, 65536),
    Config("6", 32, 2560, 40, 64, 8960, 65536, {"mix": 32, "decay": 64}),
)
DISPATCHES_PER_LAYER = 8  # budgets: lower them when you can, never raise them
DISPATCHES_PER_OLDER_LAYER = {"4": 7, "5.0": 7, "5.1": 7, "5.2": 7, "6": 10}
DISPATCHES_BESIDES = 5
BYTES_PER_STEP = (48, 2064)  # to and from the device for one decoded token


def tensors(config: Config, encoding: str) -> dict[str, SimpleNamespace]:
    """What a manifest of this config would list."""
    out = {}
    for t in layout(config):
        parts = {"": ("F32", (t.columns,))} if t.kind == "vector" else ENCODINGS[encoding].layout(t.rows, t.columns)
        out |= {t.name + suffix: SimpleNamespace(dtype=dtype, shape=shape) for suffix, (dtype, shape) in parts.items()}
    return out


def program(
    config: Config,
    encoding: str = "int8",
    *,
    hardware: bool = False,
    prefill: bool = False,
    limits: Limits | None = None,
    held: str = "buffers",
    listed: dict[str, SimpleNamespace] | None = None,
) -> Program:
    tuning = replace(HARDWARE if hardware else SOFTWARE, held=held)
    tuning = prefill_tuning(tuning) if prefill else tuning
    builder = Builder("p", listed or tensors(config, encoding), tuning=tuning, limits=limits or Limits(), slots=4, max_outputs=MAX_OUTPUTS)
    return emit(builder, config, vocab_limit=65530)


@pytest.mark.parametrize("hardware", [False, True])
def test_dispatch_budget(hardware: bool) -> None:
    p = program(DEMO, hardware=hardware)
    assert {p.dispatches_of(f"layer.{i}.") for i in range(DEMO.layers)} == {DISPATCHES_PER_LAYER}
    assert p.dispatches - DISPATCHES_PER_LAYER * DEMO.layers == DISPATCHES_BESIDES


@pytest.mark.parametrize("hardware", [False, True])
@pytest.mark.parametrize("version", OLDER)
def test_dispatch_budget_of_older_versions(version: str, hardware: bool) -> None:
    config = OLDER[version]
    p = program(config, hardware=hardware)
    assert {p.dispatches_of(f"layer.{i}.") for i in range(config.layers)} == {DISPATCHES_PER_OLDER_LAYER[version]}
    assert p.dispatches - DISPATCHES_PER_OLDER_LAYER[version] * config.layers == DISPATCHES_BESIDES


@pytest.mark.parametrize("prefill", [False, True])
def test_repeated_rows_of_the_table_and_the_head_are_neither_held_nor_multiplied(prefill: bool) -> None:
    listed, stored = tensors(DEMO, "int8"), 3180
    for name in ("emb.weight", "head.weight"):
        for part in (listed[name], listed[f"{name}.scale"]):
            part.shape = (stored, part.shape[1])
        listed[f"{name}.rows"] = SimpleNamespace(dtype="U16", shape=(DEMO.vocab,))
    p, plain = program(DEMO, prefill=prefill, listed=listed), program(DEMO, prefill=prefill)
    row, index = DEMO.embd + DEMO.embd // 32, 2 * DEMO.vocab
    assert p.dispatches == plain.dispatches + 1
    assert plain.bytes_per_token - p.bytes_per_token == (DEMO.vocab - stored) * row - index

    def held(q: Program) -> int:
        return sum(b.nbytes for b in q.buffers.values() if b.role == "weight")

    assert held(plain) - held(p) == 2 * ((DEMO.vocab - stored) * row - index)


def test_bytes_crossing_the_bridge_per_token() -> None:
    p = program(DEMO)
    assert (len(Step.of([Run(0, [1])]).encode()), p.buffers["candidates"].nbytes // MAX_OUTPUTS) == BYTES_PER_STEP


@pytest.mark.parametrize("config", [DEMO, *OLDER.values()], ids=lambda c: c.version)
def test_bytes_read_per_token_are_the_weights_without_the_embedding_table(config: Config) -> None:
    matrices = {t.name: t for t in layout(config) if t.kind != "vector"}
    read = sum(t.rows * (t.columns - -t.columns // 32) for name, t in matrices.items() if name != "emb.weight")
    vectors = 4 * sum(t.columns for t in layout(config) if t.kind == "vector" and not t.optional)
    assert (
        read + vectors <= program(config).bytes_per_token <= (read + vectors) * 1.03
    )  # `project` pads segments; wkv7_gate reads its vectors again


@pytest.mark.parametrize("config", [BIG, *BIG_OLDER], ids=lambda c: c.version)
@pytest.mark.parametrize("encoding", ["int8", "f16"])
@pytest.mark.parametrize("prefill", [False, True])
@pytest.mark.parametrize("hardware", [False, True])
def test_a_big_model_fits_default_limits(config: Config, encoding: str, prefill: bool, hardware: bool) -> None:
    p = program(config, encoding, prefill=prefill, hardware=hardware)
    assert max(b.nbytes for b in p.buffers.values()) <= 128 << 20
    for outputs in (1, MAX_OUTPUTS):
        full = Step.of([Run(0, [1] * MAX_ROWS, outputs)])
        calls = running(p, full)
        assert {c.point for c in calls} == {c.point for c in p.calls}
        assert max(d.workgroups(full) for c in calls for d in c.grid) <= 65535
        heads = [c.constants for c in calls if c.point == "head"]
        assert len(heads) > 1 and sum(int(c["M"]) for c in heads) == config.vocab  # cut into slabs
    assert max(len(c.buffers) for c in p.calls) <= 8


def running(p: Program, step: Step) -> list[Call]:
    """The calls that a step has workgroups for."""
    return [c for c in p.calls if all(d.workgroups(step) for d in c.grid)]


def test_a_prompts_lone_output_goes_through_the_head_as_decoding_does() -> None:
    decode, prefill = program(DEMO), program(DEMO, prefill=True)
    [narrow] = [c for c in decode.calls if c.point == "head"]
    for outputs, tile in ((0, None), (1, narrow.constants["tile"]), (2, "4x4"), (MAX_OUTPUTS, "4x4")):
        found = [c for c in running(prefill, Step.of([Run(0, [1] * 10, outputs)])) if c.point == "head"]
        assert [c.constants["tile"] for c in found] == ([tile] if tile else [])
    [lone, _] = [c for c in prefill.calls if c.point == "head"]
    assert render("matmul", lone.constants) == render("matmul", narrow.constants)  # so it needs no pipeline of its own
    assert sum(c.weight_bytes for c in prefill.calls) == decode.bytes_per_token


def test_a_model_too_big_for_the_adapter_is_refused_with_numbers() -> None:
    with pytest.raises(RwkvError) as caught:
        program(BIG, "f32", limits=Limits(binding_bytes=64 << 20))
    assert caught.value.code == "model-too-big"
    assert caught.value.details["limit"] == 64 << 20 and caught.value.details["need"] > 64 << 20


@pytest.mark.parametrize("held", ["images", "textures"])
@pytest.mark.parametrize("encoding", ["f32", "f16", "int8", "nf4", "int4"])
@pytest.mark.parametrize("config", [DEMO, *OLDER.values()], ids=lambda c: c.version)
def test_weights_in_textures(config: Config, encoding: str, held: str) -> None:
    """Every matrix that is multiplied, with its scales as images only; the same bytes a token, and whole rows of texels."""
    plain, p = (program(config, encoding, held=h) for h in ("buffers", held))
    for a, b in zip(plain.buffers.values(), p.buffers.values(), strict=True):
        scales, table = b.name.endswith(".scale"), b.name.startswith("emb.")
        assert bool(b.texel) == ((bool(b.encoding) or (scales and held == "images")) and not table) and not a.texel
        assert b.nbytes - a.nbytes in (range(TEXTURE_ROW) if b.texel else [0]) and b.nbytes % (TEXTURE_ROW if b.texel else 16) == 0
        for part in b.parts if b.texel else ():
            assert part.at % b.texel == 0 and (scales or part.row_bytes % b.texel == 0)
    assert p.bytes_per_token == plain.bytes_per_token
    kinds = {kind for pipeline in p.to_wire()["pipelines"] for kind in pipeline["bindings"]} - {"uniform", "storage", "read-only-storage"}
    own = {"nf4": "rg32uint", "int4": "rg32uint"}.get(encoding, "rgba32uint")
    assert kinds == ({"texture"} if held == "textures" else {own} if encoding in ("f32", "f16") else {own, "r32uint"})


def test_a_matrix_that_fits_into_no_texture_stays_in_a_buffer() -> None:
    rows = DEMO.vocab * DEMO.embd // TEXTURE_ROW
    for most in (rows, rows - 1):
        p = program(DEMO, held="images", limits=Limits(texture_rows=most))
        held = {c.point: c.constants["held"] for c in p.calls if "held" in c.constants}
        assert held.pop("head") == ("images" if most == rows else "buffers")
        assert held.pop("embed") == "buffers" and set(held.values()) == {"images"}
        assert p.buffers["head.weight"].texel == p.buffers["head.weight.scale"].texel * 4


@pytest.mark.parametrize("texel", TEXEL_FORMATS)
def test_runs_of_bytes_as_rectangles(texel: int) -> None:
    row = TEXTURE_ROW
    for at, nbytes in [
        (0, 5 * row),
        (0, texel),
        (row - texel, 2 * texel),
        (texel, row - texel),
        (3 * texel, 4 * row),
        (row, row + texel),
        (0, 0),
    ]:
        seen = []
        for first, (x, y, _), (width, height, _) in rectangles(at, nbytes, texel):
            assert x + width <= row // texel and height >= 1
            places = [(y + j) * row + (x + i) * texel for j in range(height) for i in range(width)]
            seen += list(zip(places, range(first, first + texel * len(places), texel), strict=True))
        assert seen == [(at + i, i) for i in range(0, nbytes, texel)]


def test_step_block() -> None:
    step = Step.of([Run(3, [10, 11, 12], 1), Run(1, [20], 0), Run(0, [30, 31], 2)])
    words = struct.unpack(f"<{4 + 8 * 6}I", step.encode())
    assert words[:3] == (6, 3, 3)
    entries = [words[4 + 8 * i : 12 + 8 * i] for i in range(6)]
    assert [e[:4] for e in entries] == [(10, 3, 0, 2), (11, 3, 0, 2), (12, 3, 0, 2), (20, 1, 3, 3), (30, 0, 4, 5), (31, 0, 4, 5)]
    assert [e[4] for e in entries[:3]] == [0, 3, 4]  # first row of each run
    assert [e[5] for e in entries[:3]] == [2, 4, 5]  # row of each output


@pytest.mark.parametrize("rows", [0, MAX_ROWS + 1])
def test_a_step_has_a_size(rows: int) -> None:
    with pytest.raises(ValueError, match="1 to 128 rows"):
        Step.of([Run(0, [0] * rows)])


def test_program_can_be_printed_and_sent() -> None:
    p = program(DEMO)
    assert "layer.5.ffn.value" in str(p) and "53 dispatches, 8.0 per layer" in str(p)
    wire = p.to_wire()
    assert len(wire["calls"]) == p.dispatches and len(wire["pipelines"]) <= 10
    assert all(call[0] < len(wire["pipelines"]) and max(call[1]) < len(wire["buffers"]) for call in wire["calls"])


def test_calls_of_other_sizes_share_their_pipelines() -> None:
    """What a call's sizes are lies in its uniform block, in the order of the shader's `struct Call`."""
    small, large = program(DEMO), program(replace(DEMO, embd=512, ffn=1536, heads=8, layers=2))
    codes = [{p["code"] for p in q.to_wire()["pipelines"]} for q in (small, large)]
    assert codes[0] == codes[1]
    wire = small.to_wire()
    blocks = memoryview(array("I", wire["blocks"])).cast("B")
    for call, (_, _, _, at) in zip(small.calls, wire["calls"], strict=True):
        block = call_block(call.kernel, call.constants)
        assert at % BLOCK_BYTES == 0 and blocks[at : at + len(block)] == block
        if call.kernel == "matmul":
            assert struct.unpack("<2I", block[:8]) == (call.constants["M"], call.constants["K"])


@pytest.mark.parametrize("config", [DEMO, *OLDER.values()], ids=lambda c: c.version)
def test_every_weight_byte_is_uploaded_once(config: Config) -> None:
    listed, at = tensors(config, "int8"), 0
    for t in listed.values():
        row = t.shape[-1] * {"F32": 4, "I8": 1, "U8": 1}[t.dtype]
        rows = t.shape[0] if len(t.shape) > 1 else 1
        half = rows // 2  # two pieces in two shards
        t.pieces = [SimpleNamespace(shard=0, offset=at, nbytes=half * row, first_row=0)] if half else []
        t.pieces.append(SimpleNamespace(shard=1, offset=at, nbytes=(rows - half) * row, first_row=half))
        at += rows * row
    p = program(config)
    uploads = [u for shard in plan(p.buffers.values(), listed, 2) for u in shard]
    assert sum(u.nbytes for u in uploads) == at
    for buffer in p.buffers.values():
        spans = sorted((u.to, u.to + u.nbytes) for u in uploads if u.buffer == buffer.name)
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False)) and (not spans or spans[-1][1] <= buffer.nbytes)
