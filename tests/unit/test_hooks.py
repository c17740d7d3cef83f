"""Hooks on numpy: names, what they see, what they change, dump and compare; and the examples of docs/hooks.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hook_cases import CONFIGS, DOC, TOKENS, Values, hooked, logits, model, run_document
from make_pth import save
from models import packed
from tiny_model import CONFIG

from py_rwkv.cli import main
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.hooks import Callback, Frame, Hook, Insert, elementwise
from py_rwkv.kernels import KERNELS
from py_rwkv.models.config import Config
from py_rwkv.program import Point
from py_rwkv.runtime.engine import Engine
from py_rwkv.runtime.programs import build_programs


def points(config: Config, hooks: Sequence[Hook] = ()) -> dict[str, Point]:
    manifest, _ = packed(model(config))
    device = NumpyDevice()
    return build_programs(manifest, device.decode, device.prefill, device.limits, 2, hooks=hooks)[0].points


def nothing(value: np.ndarray, frame: Frame) -> None:
    """A callback that only has to be there."""


# ── names ──


@pytest.mark.parametrize("version", CONFIGS)
def test_the_documented_table_of_points(version: str) -> None:
    table = DOC.read_text("utf-8").split("\n## Points\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    column = 2 + list(CONFIGS).index(version)
    config = Config(**{**CONFIGS[version].to_json(), "layers": 2})
    documented = {row[0].strip("`").replace("layer.N.", "layer.1."): row[column] for row in rows}
    assert {*documented.values()} <= {"●", "○", "–"} and len(documented) == len(rows)

    def found(*hooks: Hook) -> set[str]:
        return {name for name in points(config, hooks) if not name.startswith("layer.0.")}

    assert found() == {name for name, mark in documented.items() if mark == "●"}
    assert found(Callback("*", nothing)) == {name for name, mark in documented.items() if mark != "–"}


def test_unknown_points_are_refused() -> None:
    for hook in (Callback("layer.0.att.decay", nothing), Callback("layer.*.att.ln", nothing, fused=True), Insert("layer.7.*", print)):
        with pytest.raises(RwkvError) as caught:
            points(CONFIGS["5.2"], [hook])
        assert caught.value.code == "unknown-point" and "att.gated" in str(caught.value)


def test_only_the_hooked_layer_is_unfused() -> None:
    plain, unfused = (build(hooks) for hooks in ([], [Callback("layer.1.att.ln", nothing)]))
    assert [unfused[f"layer.{i}."] - plain[f"layer.{i}."] for i in range(2)] == [0, 1]


def build(hooks: Sequence[Hook]) -> dict[str, int]:
    manifest, _ = packed(model(CONFIG))
    device = NumpyDevice()
    program = build_programs(manifest, device.decode, device.prefill, device.limits, 2, hooks=hooks)[0]
    return {f"layer.{i}.": program.dispatches_of(f"layer.{i}.") for i in range(2)}


# ── seeing ──


@pytest.mark.parametrize("version", CONFIGS)
def test_hooks_that_change_nothing_change_no_bit(version: str) -> None:
    """Written back, every value of the unfused path: also the test that it computes what the fused one does."""
    seen: set[str] = set()

    def same(value: np.ndarray, frame: Frame) -> np.ndarray:
        seen.add(frame.point.name)
        return value

    keep = elementwise("keep", "x", lambda x: x)
    config = CONFIGS[version]
    expected = logits(config)
    assert (logits(config, [Callback("*", same)]) == expected).all()
    assert seen == points(config, [Callback("*", same)]).keys()
    assert (logits(config, [Insert("*", keep)]) == expected).all()
    assert (logits(config, [Callback("*", nothing, fused=True)]) == expected).all()


def test_a_value_is_what_the_equations_say() -> None:
    """Each stage of V7 from the one before it."""
    seen: Values = {}

    def keep(value: np.ndarray, frame: Frame) -> None:
        seen[frame.point.name.removeprefix("layer.1.")] = value

    made = model(CONFIG)
    att = {name.removeprefix("blocks.1.att."): w.squeeze() for name, w in made.items() if name.startswith("blocks.1.att.")}
    asyncio.run(fed(CONFIG, Callback("*", keep)))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    heads = lambda x: x.reshape(len(x), CONFIG.heads, -1)  # noqa: E731
    v, a, kk = seen, seen["att.a"], seen["att.kk"]
    before = np.vstack([0 * v["att.ln"][:1], v["att.ln"][:-1]])
    raw = v["att.key"] * att["k_k"]
    expected = {
        "att.shift.w": v["att.ln"] + (before - v["att.ln"]) * att["x_w"],
        "att.r": v["att.shift.r"] @ att["receptance.weight"].T,
        "att.w.low": np.tanh(v["att.shift.w"] @ att["w1"]),
        "att.decay": np.exp(-np.exp(-0.5) * sigmoid(att["w0"] + v["att.w.low"] @ att["w2"])),
        "att.a": sigmoid(att["a0"] + v["att.a.low"] @ att["a2"]),
        "att.v_mix": sigmoid(att["v0"] + v["att.v.low"] @ att["v2"]),
        "att.kk": (heads(raw) / np.linalg.norm(heads(raw), axis=-1, keepdims=True)).reshape(raw.shape),
        "att.k": v["att.key"] * (1 + (a - 1) * att["k_a"]),
        "att.v": v["att.value"] + (v["layer.0.att.v"] - v["att.value"]) * v["att.v_mix"],
        "att.b": kk * a,
        "att.g": v["att.g.low"] @ att["g2"],
        "att.out": v["att.gated"] @ att["output.weight"].T,
        "middle": v["layer.0.output"] + v["att.out"],
        "output": v["middle"] + v["ffn.value"],
        "ffn.key": np.maximum(v["ffn.shift.k"] @ made["blocks.1.ffn.key.weight"].T, 0) ** 2,
        "head": v["head.norm"] @ made["head.weight"].T,
    }
    for name, value in expected.items():
        assert np.abs(value - seen[name]).max() < 1e-5, name


async def fed(config: Config, hook: Hook, tokens: Sequence[int] = tuple(TOKENS)) -> None:
    engine = await hooked(config, [hook])
    await engine.logits(tokens, every=True)


def test_a_function_knows_whose_rows_it_sees() -> None:
    """Three sessions at once: every row comes with its token and its slot, and the head's rows are the outputs'."""
    seen: dict[str, list[tuple[int, int]]] = {"embed": [], "head": []}

    def look(value: np.ndarray, frame: Frame) -> None:
        assert len(value) == len(frame.tokens) == len(frame.slots)
        seen[frame.point.name] += zip(frame.slots, frame.tokens, strict=True)

    async def run() -> list[int]:
        engine = await hooked(CONFIG, [Callback("embed", look), Callback("head", look)])
        sessions = [engine.session() for _ in range(3)]
        await asyncio.gather(*(s.feed([10 * i + j for j in range(5 - i)], "last") for i, s in enumerate(sessions)))
        return [s.slot for s in sessions]

    slots = asyncio.run(run())
    assert sorted(seen["embed"]) == sorted((slot, 10 * i + j) for i, slot in enumerate(slots) for j in range(5 - i))
    assert sorted(seen["head"]) == sorted((slot, 10 * i + 4 - i) for i, slot in enumerate(slots))


# ── changing ──


DOUBLED = {  # point → the weights that, doubled, do the same
    "att.out": ("att.output.weight",),
    "ffn.value": ("ffn.value.weight",),
    "att.shift.k": ("att.key.weight",),
    "att.ln": ("ln1.weight", "ln1.bias"),
    "ffn.ln": ("ln2.weight", "ln2.bias"),
    "att.gated": ("att.output.weight",),
    "att.norm": ("att.ln_x.weight", "att.ln_x.bias"),
    "att.v": ("att.value.weight",),
}


@pytest.mark.parametrize("version", CONFIGS)
def test_doubling_a_value_is_doubling_its_weights(version: str) -> None:
    config, double = CONFIGS[version], elementwise("double", "2.0 * x", lambda x: 2 * x)
    plain = logits(config)
    hooks = cycle((lambda p: Insert(p, double), lambda p: Callback(p, lambda value, frame: 2 * value)))
    for point, names in DOUBLED.items():
        if (point == "att.norm" and version in "47") or (point == "att.v" and version == "7"):
            continue
        changed = {name: w * 2 if name in {f"blocks.0.{n}" for n in names} else w for name, w in model(config).items()}
        expected = logits(config, weights=changed)
        assert np.abs(logits(config, [next(hooks)(f"layer.0.{point}")]) - expected).max() < 1e-5, point
        assert np.abs(plain - expected).max() > 1e-3, point


def test_functions_reach_what_is_in_memory_and_nothing_else() -> None:
    async def reach(value: np.ndarray, frame: Frame) -> np.ndarray:
        frame.write("layer.0.att.r", 2 * await frame.read("layer.0.att.r"))
        return value

    double = elementwise("double", "2.0 * x", lambda x: 2 * x)
    assert (logits(CONFIG, [Callback("layer.0.att.b", reach)]) == logits(CONFIG, [Insert("layer.0.att.r", double)])).all()
    for late, name in (("layer.0.att.r", "layer.0.att.b"), ("layer.0.ffn.key", "layer.0.att.shift.r"), ("layer.1.att.b", "layer.0.att.r")):

        async def wrong(value: np.ndarray, frame: Frame, name: str = name) -> None:
            await frame.read(name)

        def insert(p: Any, point: Point, name: str = name) -> None:
            p.at(name)

        for hook in (Callback(late, wrong), Insert(late, insert)):
            with pytest.raises(RwkvError, match=r"not in memory here.*\[bad-hook\]"):
                logits(CONFIG, [hook])


def test_a_value_of_another_shape_is_refused() -> None:
    with pytest.raises(RwkvError) as caught:
        logits(CONFIG, [Callback("layer.0.att.r", lambda value, frame: value[:, :7])])
    assert caught.value.details == {"point": "layer.0.att.r", "expected": "[1, 20]", "found": "[1, 7]"}


def test_a_kernel_cannot_bind_a_buffer_twice() -> None:
    def insert(p: Any, point: Point) -> None:
        p.call("combine", {"C": 20, "STRIDE": 20, "AT": 0, "ADD": 0, "GATED": 0, "WG": 64}, [point.buffer, point.buffer, point.buffer])

    with pytest.raises(RwkvError, match="binds x for reading and again for writing"):
        points(CONFIG, [Insert("embed", insert)])


# ── dump and compare ──


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A checkpoint, and one that differs in one tensor of layer 1."""
    made = model(CONFIG)
    other = made | {"blocks.1.att.receptance.weight": made["blocks.1.att.receptance.weight"] * np.float32(1.01)}
    out = {"a": tmp_path / "a.pth", "b": tmp_path / "b.pth"}
    for name, w in (("a", made), ("b", other)):
        out[name].write_bytes(save(w))
    return out


CPU = ("--device-a", "cpu", "--device-b", "cpu")


def run(*words: Any) -> int:
    return main([str(word) for word in words])


def test_compare_names_the_first_value_that_differs(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", files["a"], files["a"], *CPU) == 0
    assert "They agree" in capsys.readouterr().out
    for more in ([], ["--unfused"], ["--one-by-one"]):
        assert run("compare", files["a"], files["b"], *CPU, *more) == 1
        said = capsys.readouterr()
        assert "They part at layer.1.att.r: 0.01 " in said.err and re.search(r"layer\.1\.att\.r .*← they part", said.out)
    assert run("compare", files["a"], files["b"], *CPU, "--tolerance", "0.5") == 0


def test_a_dump_stands_for_a_run(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dump", files["a"], "--device", "cpu", "--tokens", "3,1,4", "--out", tmp_path / "d.safetensors") == 0
    assert "63 values of 3 tokens" in capsys.readouterr().out
    assert run("compare", tmp_path / "d.safetensors", files["a"], *CPU) == 0
    assert "63 values, nowhere more than 0 apart" in capsys.readouterr().out
    assert run("compare", tmp_path / "d.safetensors", files["b"], *CPU) == 1
    assert "layer.1.att.r:" in capsys.readouterr().err
    assert run("compare", tmp_path / "d.safetensors", files["a"], *CPU, "--tokens", "3,1,5") == 1
    assert "[cannot-compare]" in capsys.readouterr().err
    assert run("dump", files["a"], "--device", "cpu", "--tokens", "3,1", "--out", tmp_path, "--points", "*.att.kk", "--fused") == 1
    assert "[unknown-point]" in capsys.readouterr().err
    assert run("dump", files["a"], "--device", "cpu", "--tokens", "3,1", "--out", tmp_path, "--points", "*.att.kk") == 0
    assert (tmp_path / "values.safetensors").exists()


@pytest.mark.parametrize(
    ("about", "shape"), [({}, (2, 3)), ({"format": "py_rwkv-dump"}, (2, 3)), ({"format": "py_rwkv-dump", "tokens": "1,2,3"}, (2, 3))]
)
def test_a_file_that_is_no_dump_is_refused(tmp_path: Path, about: dict[str, str], shape: tuple[int, int]) -> None:
    from py_rwkv.checkpoint.safetensors import Piece, encode
    from py_rwkv.runtime.dump import read_dump

    (tmp_path / "x.safetensors").write_bytes(encode([Piece("embed", "F32", shape, bytes(24))], about))
    with pytest.raises(RwkvError) as caught:
        read_dump(tmp_path / "x.safetensors")
    assert caught.value.code == "bad-dump"


def test_not_a_number_comes_before_anything_else() -> None:
    from py_rwkv.runtime.compare import compare
    from py_rwkv.runtime.dump import Open, record

    def break_it(value: np.ndarray, frame: Frame) -> np.ndarray:
        broken = value * 2
        broken[2, 7] = np.nan
        return broken

    def opening(*own: Hook) -> Open:
        async def open_engine(hooks: Sequence[Hook]) -> Engine:
            return await hooked(CONFIG, [*own, *hooks])

        return open_engine

    shifted = Callback("layer.0.att.r", lambda value, frame: value * 2)
    a = asyncio.run(record(opening(), TOKENS))
    b = asyncio.run(record(opening(shifted, Callback("layer.1.att.k", break_it)), TOKENS))
    found = compare(a, b, 1e-3)
    assert found.first and found.first.point == "layer.0.att.r"
    assert str(found.not_finite) == "B at layer.1.att.k, token 2, column 7: nan"
    assert [d.point for d in found.differences] == list(a.values) and not found.alone


# ── the document ──


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_document(tmp_path_factory.mktemp("document"), "cpu")


def test_the_examples_of_the_document(document: dict[str, Any]) -> None:
    assert (document["by_kernels"] == document["by_functions"]).all()
    assert KERNELS["times_decay"].wgsl == document["TIMES"]


def test_the_puzzle_hooks_of_the_document(document: dict[str, Any]) -> None:
    config = CONFIGS["6"]
    by_kernels, by_functions = (logits(config, document[name]) for name in ("puzzle_kernels", "puzzle_functions"))
    assert (by_kernels == by_functions).all() and np.abs(by_kernels - logits(config)).max() > 1e-3
