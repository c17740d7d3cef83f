"""Measuring, on numpy: what is counted is exact, what is compared is the same model, and a missing or broken peer says so. No test here looks at a time."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import finished

from py_rwkv.bench import ceiling, models, peer
from py_rwkv.bench.measure import Plan, Samples, bench, plan_of
from py_rwkv.bench.profile import groups, profile
from py_rwkv.checkpoint.convert import load_model, open_weights
from py_rwkv.checkpoint.export import write_safetensors
from py_rwkv.cli import main
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.builder import Limits
from py_rwkv.models.config import detect
from py_rwkv.native import open_model
from py_rwkv.program import Run, Step
from py_rwkv.runtime.programs import build_programs

TINY = "random:6:2x64:50"
FAKE = """
class Model:
    def __init__(self, path, quant=0, quant_nf4=0):
        self.size, self.quant, self.fed = len(open(path, "rb").read()), (quant, quant_nf4), 0
    def clear_state(self):
        self.fed = 0
    def run(self, tokens, token_chunk_size=128):
        self.fed += len(tokens)
        if self.fed > 40:
            raise SystemExit(3)
        return [float(self.size), float(self.quant[0]), float(self.quant[1]), float(self.fed)]
"""


@pytest.fixture
def fake_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `web_rwkv_py` that answers with what it was given, and dies after 40 tokens."""
    (tmp_path / "web_rwkv_py.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(peer, "version", lambda name: "0.0")


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["bench", *words, "--device", "cpu", "--json"]) == 0
    out: dict[str, Any] = json.loads(capsys.readouterr().out)
    return out


def failure(*words: str) -> str:
    with pytest.raises(RwkvError) as error:
        models.random_config(*words)
    return error.value.code


@pytest.mark.parametrize("text", ["random:4:1x64:50", "random:5.2:3x128:77", "random:6:2x192", "random:7:1x64:256", "random:7:12x768"])
def test_a_random_model_is_a_checkpoint(text: str) -> None:
    config = models.random_config(text)
    made = models.random_model(config)
    assert detect({t.name: t.shape for t in made.tensors}) == config


@pytest.mark.parametrize("text", ["random:", "random:8:2x64", "random:6:2x100", "random:6:0x64", "random:6:2", "random:6:2x64:1.5"])
def test_a_shape_that_is_none(text: str) -> None:
    assert failure(text) == "bad-setting"


def test_low_ranks_are_the_trainer_s() -> None:
    official = {"w": 64, "a": 64, "v": 32, "g": 128}  # RWKV-7 World 0.1B, 12 × 768
    assert models.ranks_of("7", 768) == official


@pytest.mark.parametrize("text", ["random:4:2x64:50", "random:5.2:2x64:50", TINY, "random:7:2x64:50"])
def test_the_peer_gets_the_same_model(text: str, tmp_path: Path) -> None:
    """Written in web-rwkv's layout and read again, every packed tensor is what it was."""
    config = models.random_config(text)
    write_safetensors(tmp_path / "official.safetensors", models.random_model(config).tensors, {})
    models.write_web_rwkv(tmp_path / "official.safetensors", tmp_path / "peer.st")

    def packed(name: str) -> tuple[Any, list[bytes]]:
        manifest, shards = asyncio.run(load_model(tmp_path / name, strategy="f16"))
        return manifest, [shards.read(i) for i in range(len(manifest.shards))]

    (first, a), (second, b) = packed("official.safetensors"), packed("peer.st")
    assert first.config == second.config == config
    assert [s.sha256 for s in first.shards] == [s.sha256 for s in second.shards] and a == b
    names = (tmp_path / "peer.st").read_bytes()[:20000]
    assert b"time_maa" not in names and b"time_faaaa" not in names


@pytest.mark.parametrize(("quant", "megabytes"), [("f16", 281), ("int8", 199), ("nf4", 156)])
def test_the_peer_s_bytes_per_token(quant: str, megabytes: int) -> None:
    """As published for RWKV-7 0.1B: its head and low ranks stay in f16."""
    assert models.peer_bytes_per_token(models.random_config("random:7:12x768"), quant) / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_figures_of_rounds() -> None:
    samples = Samples()
    for scale in (1, 2, 6):
        samples.add(0.5 * scale, [0.1 * scale, 0.3 * scale], [0.05 * scale] * 2)
    figures = samples.figures(100)
    assert figures["prefill_tok_s"] == 100 and figures["first_token_ms"] == 1000
    assert figures["decode_tok_s"] == pytest.approx(1 / 0.4)  # the second round: 2 tokens in 0.8 s
    assert figures["draw_tok_s"] == pytest.approx(10)
    assert figures["decode_ms"] == pytest.approx({"p50": 600, "p99": 1800, "min": 100})


BAD = [("prefill", 0), ("decode", -1), ("repeat", 1.5), ("batches", (1, 129)), ("contexts", (0,)), ("prefills", (4, None))]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_plan_within_bounds(name: str, value: Any) -> None:
    with pytest.raises(RwkvError, match="whole number from 1"):
        Plan(**{name: value})


def test_a_plan_from_json() -> None:
    assert plan_of({"decode": 8, "batches": [1, 4]}) == Plan(decode=8, batches=(1, 4))
    with pytest.raises(RwkvError, match="repeats"):
        plan_of({"repeats": 3})


def test_parts_come_as_they_are_done_and_it_can_be_stopped() -> None:
    parts: dict[str, Any] = {}
    with models.materialized(TINY) as path:
        engine = finished(open_model(path, "cpu"))
    plan, turns = Plan(prefill=5, decode=4, repeat=1, batches=(1, 2), contexts=(9,), prefills=(3, 40)), iter(range(30))
    done = asyncio.run(bench(engine, plan, event=lambda name, value: parts.update({name: value})))
    assert list(parts) == ["model", "alone", "prefills", "batches", "contexts"]
    assert {**parts["model"], **parts["alone"], **{name: parts[name] for name in ("prefills", "batches", "contexts")}} == done
    assert [p["prompt_tokens"] for p in done["prefills"]] == [3, 40] and done["contexts"][0]["to_fresh"] > 0
    with pytest.raises(RwkvError) as error:
        asyncio.run(bench(engine, plan, cancel=lambda: next(turns) > 20))
    assert error.value.code == "cancelled"
    with pytest.raises(RwkvError) as error:
        asyncio.run(bench(engine, Plan(prefill=2, decode=1, repeat=1, batches=(9,))))
    assert error.value.code == "no-free-slot"
    sessions = [engine.session() for _ in range(engine.slots)]  # whatever ended it gave all slots back
    assert len(sessions) == engine.slots


def test_limits() -> None:
    limits = ceiling.Ceiling(read_gb_s=10, copy_gb_s=8, dispatch_us=5, roundtrip_us=100).limits(50_000_000, 61)
    assert limits == pytest.approx({"memory_tok_s": 200, "dispatch_tok_s": 2500})


@pytest.mark.parametrize("limits", [Limits(), Limits(binding_bytes=3 << 20)])
def test_the_ceiling_s_programs_fit_the_adapter_and_do_what_they_say(limits: Limits) -> None:
    made = {p.name: p for p in ceiling.programs(limits, 4 << 20)}
    sizes = {b.nbytes for p in made.values() for b in p.buffers.values() if b.name != "bench.counter"}
    assert sizes == {min(4 << 20, limits.binding_bytes)}
    assert all(d.workgroups(ceiling.ONE) <= limits.workgroups for p in made.values() for c in p.calls for d in c.grid)
    device = NumpyDevice()

    async def run() -> float:
        await device.allocate(list(made.values()))
        device.memory["bench.source"][:] = np.random.default_rng(0).integers(0, 60, sizes.copy().pop(), np.uint8)
        await device.run("copy.0.1", ceiling.ONE)
        assert (device.memory["bench.target"] == device.memory["bench.source"]).all()
        await device.run("one", ceiling.ONE)
        return float(np.frombuffer(await device.run("empty", ceiling.ONE, "bench.counter", 4), np.float32)[0])

    assert asyncio.run(run()) == 1 + ceiling.EMPTY


def test_profile_accounts_for_every_call() -> None:
    with models.materialized(TINY) as path:
        manifest, shards = asyncio.run(load_model(path, strategy="int8"))
    device = NumpyDevice()
    steps = [Step.of([Run(0, [5])]), Step.of([Run(0, [1, 2, 3])])]
    decode, prefill = asyncio.run(profile(manifest, shards, device, steps, repeat=1))
    programs = build_programs(manifest, device.decode, device.prefill, device.limits, 2)
    for program, shares in zip(programs, (decode, prefill), strict=True):
        assert [(s.kernel, s.place) for s in shares] == list(groups(program))
        assert sum(s.calls for s in shares) == program.dispatches
        assert sum(s.mb for s in shares) == pytest.approx(program.bytes_per_token / 1e6)


def test_the_command_reports_what_the_engine_counts(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        TINY,
        "--quant",
        "int8",
        "--prefill",
        "9",
        "--decode",
        "4",
        "--repeat",
        "1",
        "--batch",
        "1,3",
        "--context",
        "20,12",
        "--kernels",
    ]
    r = report(capsys, *words, "--no-limits")
    assert (r["version"], r["quant"], r["shape"], r["vocab"], r["adapter"], r["prompt_tokens"]) == ("6", "int8", "2x64", 50, "numpy", 9)
    assert r["dispatches_per_token"] == sum(s["calls"] for s in r["kernels"]["decode"])
    assert r["dispatches_per_layer"] * 2 < r["dispatches_per_token"]
    assert [b["batch"] for b in r["batches"]] == [1, 3] and [c["context"] for c in r["contexts"]] == [12, 20]
    assert list(r["kernels"]) == ["decode", "9 tokens"] and "convert" in r["load_ms"] and "upload" in r["load_ms"]
    assert main(["bench", *words, "--no-limits", "--device", "cpu"]) == 0
    assert "att.output" in capsys.readouterr().out


def test_against_the_peer(fake_peer: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = [TINY, "--quant", "int8", "--prefill", "5", "--decode", "3", "--repeat", "2", "--no-limits", "--against", "web-rwkv"]
    r = report(capsys, *words)
    against = r["against"]
    assert (against["package"], against["quant"], against["dispatches_per_layer"], against["prompt_tokens"]) == (
        "web-rwkv-py 0.0",
        "int8",
        32,
        5,
    )
    assert against["ratios"]["decode"] == pytest.approx(r["decode_tok_s"] / against["decode_tok_s"])
    assert against["ratios"]["prefill"] == pytest.approx(r["prefill_tok_s"] / against["prefill_tok_s"])
    assert report(capsys, *words, "--peer-quant", "nf4")["against"]["bytes_per_token"] < against["bytes_per_token"]


def test_the_peer_runs_what_it_is_asked_to(fake_peer: None) -> None:
    config = models.random_config(TINY)
    with models.materialized(TINY) as path, peer.running(path, config, "nf4") as running:
        first, second = running.round([1, 2, 3], 2), running.round([4] * 30, 1)
        assert len(first["steps"]) == 2 and len(second["steps"]) == 1
        assert first["logits"][1:] == [0, 2, 3] and second["logits"][3] == 30  # no int8 layer, two of nf4; the state was cleared between
        with pytest.raises(RwkvError) as error:
            running.round([1] * 41, 0)
    assert error.value.code == "peer-failed" and "status 3" in str(error.value)


def test_the_race(tmp_path: Path) -> None:
    """The script in one call, on numpy, without the peer: every case with its figures, what does not fit with its reason."""
    script, out = Path(__file__).parents[2] / "build_scripts" / "bench_race.py", tmp_path / "race.json"
    words = ["--models", "6:2x64:50", "7:1x64:50", "6:1000x9984", "--quants", "int8", "nf4", "--device", "cpu", "--no-peer"]
    run = subprocess.run(
        [sys.executable, script, *words, "--prefill", "6", "--decode", "3", "--repeat", "1", "--out", out], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    race = json.loads(out.read_text("utf-8"))
    assert (race["adapter"], race["kind"], race["targets"]["decode"]) == ("numpy", "software", 4)
    found = [(c["version"], c["shape"], c["quant"], c["prompt_tokens"]) for c in race["cases"]]
    assert found == [("6", "2x64", "int8", 6), ("6", "2x64", "nf4", 6), ("7", "1x64", "int8", 6), ("7", "1x64", "nf4", 6)]
    for case in race["cases"]:
        assert case["of_limits"]["copy"] == pytest.approx(
            case["decode_tok_s"] * case["bytes_per_token"] / race["ceiling"]["copy_gb_s"] / 1e9
        )
    assert [(s["model"], s["quant"]) for s in race["skipped"]] == [("6:1000x9984", "all")] and "GB" in race["skipped"][0]["reason"]
    assert run.stdout.count("| V6 2x64 |") == 2 and "skipped 6:1000x9984" in run.stdout


def test_what_the_race_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "build_scripts")
    race = importlib.import_module("bench_race")
    ratios = {"decode": 1.5, "draw": 2.5, "prefill": 1.0}
    case = {"shape": "24x2048", "quant": "int8", "of_limits": {"copy": 0.7}, "against": {"ratios": ratios}}
    judged = race.verdicts(case, race.TARGETS["gpu"])
    assert {name: (v["found"], v["pass"]) for name, v in judged.items()} == {
        "decode": (2.5, True),
        "prefill": (1.0, False),
        "of_copy": (0.7, True),
    }
    assert race.verdicts({**case, "quant": "nf4"}, race.TARGETS["gpu"]).keys() == {"decode", "prefill"}
    assert race.verdicts({"shape": "12x768", "quant": "f16", "of_limits": {"copy": 0.1}}, race.TARGETS["gpu"]) == {}


def test_a_gguf_for_llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What write_gguf.py writes for wllama is read back as the model it was: names and layouts are llama.cpp's, matrices within Q8_0's error."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "build_scripts")
    write = importlib.import_module("write_gguf").write
    with models.materialized("random:7:2x64:300") as path:
        write(path, tmp_path / "m.gguf")
        first, second = open_weights(path), open_weights(tmp_path / "m.gguf")
        assert detect(first.shapes) == detect(second.shapes)
        for name in second.shapes:  # llama.cpp has no v0 to v2 in the first layer
            a, b = (np.frombuffer(c.read(name, 0, c.shapes[name][0]), kind).astype("f4") for c, kind in ((first, "<f2"), (second, "<f4")))
            assert np.abs(a - b).max() <= np.abs(a).max() / 250, name


def test_a_peer_that_is_missing_or_cannot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake_peer: None) -> None:
    assert main(["bench", "random:7:1x64:50", "--against", "web-rwkv", "--device", "cpu"]) == 1
    assert "[peer-cannot]" in capsys.readouterr().err

    def missing(name: str) -> str:
        raise peer.PackageNotFoundError(name)

    monkeypatch.setattr(peer, "version", missing)
    assert main(["bench", TINY, "--against", "web-rwkv", "--device", "cpu"]) == 1
    assert "pip install web-rwkv-py" in capsys.readouterr().err
