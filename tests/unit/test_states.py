"""States of sessions on numpy: taken and put back without a difference, refused for other models, tuned, and as a model's default."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.cases import load_case
from golden.older_cases import SHAPES, load_older
from golden.tuned_states import MODELS, load_tuned
from make_pth import save
from models import converted, engine_of, finished
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.checkpoint.checkpoint import open_checkpoint
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.model_dir import MemoryShards
from py_rwkv.checkpoint.shards import MemorySink
from py_rwkv.checkpoint.source import BytesSource, FileSource
from py_rwkv.checkpoint.state_file import Kind, State, decode_state, encode_state
from py_rwkv.checkpoint.time_state import open_state
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.native import _Ready
from py_rwkv.runtime.engine import Engine

CONFIGS = {"7": CONFIG, **OLDER}
SEEN, MORE = [3, 1, 4, 1, 5], [9, 2, 6]


def engine(config: Config = CONFIG, seed: int = 0, slots: int = 2) -> Engine:
    return asyncio.run(engine_of(weights(config, seed), NumpyDevice(), slots=slots))


async def after(e: Engine, tokens: list[int]) -> State:
    session = e.session()
    await session.feed(tokens, "none")
    return await session.state()


@pytest.mark.parametrize("version", CONFIGS)
def test_going_on_from_a_file_changes_no_bit(version: str, tmp_path: Path) -> None:
    config, path = CONFIGS[version], tmp_path / "s.safetensors"

    async def run() -> None:
        first, second = engine.session(), other.session()
        await first.feed(SEEN, "none")
        assert await first.save_state(path) == path.stat().st_size
        state = decode_state(FileSource(path))
        assert state == await first.state() and state.tokens == tuple(SEEN)
        expected = await first.feed(MORE, "full")
        second.load_state(path)
        assert second.tokens == SEEN
        assert await second.feed(MORE, "full") == expected
        second.reset()
        assert second.tokens == [] and (await second.state()).tensors == State.zero(state.kind).tensors

    engine, other = (asyncio.run(engine_of(weights(config), NumpyDevice())) for _ in range(2))
    asyncio.run(run())
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize("version", CONFIGS)
def test_zero_as_others_write_it(version: str) -> None:
    """A zero state made elsewhere (V4's pp far below any exponent) is where a new session starts."""
    e, kind = engine(CONFIGS[version]), Kind.of(CONFIGS[version])
    zero = State.zero(kind)
    for name in kind.shapes:
        assert (zero.array(name) == np.float32(-1e30 if name.endswith(".pp") else 0)).all()

    async def run() -> None:
        a, b = e.session(), e.session()
        b.set_state(zero)
        assert await a.feed(SEEN) == await b.feed(SEEN)

    asyncio.run(run())


@pytest.mark.parametrize("name", [name for name in SHAPES if "small" in name] + ["small_heads"])
def test_states_are_those_of_the_rwkv_package(name: str) -> None:
    """Names, orientation and numbers, layer by layer."""
    case = load_older(name) if name in SHAPES else load_case(name)
    state = asyncio.run(after(asyncio.run(engine_of(case.weights, NumpyDevice())), case.tokens))
    assert {n.rpartition(".")[2] for n in state.tensors} == set(case.state)
    for part, layers in case.state.items():
        for i, expected in enumerate(layers):
            assert np.abs(state.array(f"blocks.{i}.{part}") - expected).max() < 1e-4, (part, i)


def test_forks_go_their_own_ways() -> None:
    e = engine(slots=3)

    async def run() -> None:
        trunk, alone = e.session(), e.session()
        await trunk.feed(SEEN)
        branch = trunk.fork()
        assert branch.tokens == SEEN and branch.tokens is not trunk.tokens
        with_branch = await branch.feed([7]), await trunk.feed([8])
        for token, logits in zip((7, 8), with_branch, strict=True):
            alone.reset()
            await alone.feed(SEEN)
            assert await alone.feed([token]) == logits
        with pytest.raises(RwkvError) as error:
            trunk.fork()
        assert error.value.code == "no-free-slot"

    asyncio.run(run())


def test_a_session_at_work_has_no_state_yet() -> None:
    e = engine()

    async def run() -> None:
        session = e.session()
        work = asyncio.ensure_future(session.feed([1] * 100, "full"))
        await asyncio.sleep(0)
        for attempt in (
            session.state(),
            asyncio.to_thread(lambda: session.set_state(State.zero(Kind.of(CONFIG)))),
            asyncio.to_thread(session.fork),
        ):
            with pytest.raises(RwkvError) as error:
                await attempt
            assert error.value.code == "session-busy"
        await work
        assert (await session.state()).tokens == (1,) * 100

    asyncio.run(run())


def refused(e: Engine, state: State, **options: bool) -> RwkvError:
    with pytest.raises(RwkvError) as error:
        e.session().set_state(state, **options)
    return error.value


def test_states_of_other_models() -> None:
    e = engine(slots=9)
    state = asyncio.run(after(e, SEEN))
    six = refused(e, State.zero(Kind.of(OLDER["6"])), force=True)
    assert six.code == "state-mismatch" and six.details["found"] == "RWKV-6, 2 layers of 20 channels in 5 heads of 4"
    assert six.details["expected"] == "RWKV-7, 2 layers of 20 channels in 5 heads of 4"
    other = engine(seed=1)
    error = refused(other, state)
    assert error.code == "state-mismatch" and state.model_hash[:12] in error.details["found"]
    assert other.manifest.model_hash[:12] in error.details["expected"] and "(random, f32)" in error.details["expected"]
    other.session().set_state(state, force=True)
    other.set_start(replace(state, model_hash=""))  # nobody knows what it was made with
    assert refused(e, replace(state, tokens=(40,))).code == "bad-token"
    e.session().set_state(replace(state, tokens=(0xFFFFFFFF, 39)))  # an embedding was fed first


def test_what_the_hash_says() -> None:
    def manifest(seed: int = 0, strategy: str = "f16", **more: object) -> Manifest:
        return converted(BytesSource("m.pth", save(weights(seed=seed))), MemorySink(), strategy=strategy, **more)

    base = manifest()
    assert len(base.model_hash) == 64
    kind = Kind.of(CONFIG)
    start = State.zero(kind).with_arrays(wkv=np.ones((2, 5, 4, 4), np.float32))
    same = manifest(name="x", template="g1", start=start)
    assert same.model_hash == base.model_hash and same.shards[:-1] == base.shards and len(same.shards) == 2
    others = [manifest(seed=1), manifest(strategy="f32"), manifest(group_norm_eps=1e-5)]
    assert len({m.model_hash for m in [base, *others]}) == 4


# ── tuned states and default states ──


async def every_logit(e: Engine, tokens: list[int]) -> np.ndarray:
    return np.frombuffer(await e.logits(tokens, every=True), np.float32).reshape(len(tokens), -1)


@pytest.mark.parametrize("version", MODELS)
def test_tuned_states_give_the_logits_of_the_rwkv_package(version: str) -> None:
    case = load_tuned(version)
    e = asyncio.run(engine_of(case.weights, NumpyDevice()))
    plain = asyncio.run(every_logit(e, case.tokens))
    assert np.abs(plain - case.logits).max() > 0.1
    e.set_start(open_state(BytesSource("tuned.pth", save(case.trained)), e.config))
    assert np.abs(asyncio.run(every_logit(e, case.tokens)) - case.logits).max() < 1e-4
    e.set_start(None)
    assert (asyncio.run(every_logit(e, case.tokens)) == plain).all()


def with_default(version: str, start: State | None = None) -> tuple[Engine, Manifest]:
    case, sink = load_tuned(version), MemorySink()
    inside = {} if start else case.trained
    manifest = Manifest.from_json(converted(BytesSource("m.pth", save(case.weights | inside)), sink, strategy="f32", start=start).to_json())
    return finished(Engine.load(manifest, _Ready(MemoryShards(manifest.shards, sink.shards)), NumpyDevice())), manifest


@pytest.mark.parametrize("version", MODELS)
def test_a_state_inside_a_model_file_is_where_sessions_start(version: str) -> None:
    case = load_tuned(version)
    e, manifest = with_default(version)
    assert sum(name.startswith("state.") for name in manifest.tensors) == e.config.layers  # the token shifts start at zero
    assert np.abs(asyncio.run(every_logit(e, case.tokens)) - case.logits).max() < 1e-4

    async def run() -> None:
        session = e.session()
        first = await session.feed(case.tokens)
        session.reset()
        assert await session.feed(case.tokens) == first
        e.set_start(State.zero(Kind.of(e.config)))
        session.reset()
        assert await session.feed(case.tokens) != first
        e.set_start(None)
        session.reset()
        assert await session.feed(case.tokens) == first

    asyncio.run(run())


def test_a_whole_state_as_default() -> None:
    """What a model remembers of a text can be its default: V4's averages and the token shifts too."""
    case = weights(OLDER["4"])
    plain = asyncio.run(engine_of(case, NumpyDevice()))
    state, sink = asyncio.run(after(plain, SEEN)), MemorySink()
    manifest = converted(BytesSource("m.pth", save(case)), sink, strategy="f32", start=state)
    e = finished(Engine.load(manifest, _Ready(MemoryShards(manifest.shards, sink.shards)), NumpyDevice()))
    assert asyncio.run(e.logits(MORE)) == asyncio.run(plain.logits(SEEN + MORE))
    assert e.session().tokens == []


def test_a_default_state_of_another_model() -> None:
    source, elsewhere = BytesSource("m.pth", save(weights())), replace(State.zero(Kind.of(CONFIG)), model_hash="0" * 64)
    for start, force in ((State.zero(Kind.of(OLDER["6"])), True), (elsewhere, False)):
        sink = MemorySink()
        with pytest.raises(RwkvError) as error:
            converted(source, sink, start=start, force=force)
        assert error.value.code == "state-mismatch" and not sink.shards
    converted(source, MemorySink(), start=elsewhere, force=True)


def test_a_manifest_with_a_default_state_of_another_shape() -> None:
    _, manifest = with_default("7")
    wrong = manifest.to_json().replace(
        '"state.0.wkv": {"dtype": "F32", "shape": [320]', '"state.0.wkv": {"dtype": "F32", "shape": [1, 320]'
    )
    assert wrong != manifest.to_json()
    with pytest.raises(RwkvError) as error:
        Manifest.from_json(wrong)
    assert error.value.code == "bad-manifest" and "state.0.wkv must be F32 [320]" in str(error.value)


def test_files_are_told_by_what_they_hold() -> None:
    case = load_tuned("6")
    config = asyncio.run(engine_of(case.weights, NumpyDevice())).config
    tuned = open_state(BytesSource("s.pth", save(case.trained)), config)
    assert tuned.model_hash == "" and tuned.notes == {"time_state": "official"} and tuned.tokens == ()
    ours = open_state(BytesSource("s.pth", encode_state(tuned)), config)
    assert ours == tuned
    turned = open_state(BytesSource("s.pth", save(case.trained)), config, "web-rwkv")
    assert (turned.array("blocks.1.wkv") == tuned.array("blocks.1.wkv").transpose(0, 2, 1)).all()
    assert open_checkpoint(BytesSource("s.pth", encode_state(tuned))).tensors.keys() >= tuned.kind.shapes.keys()
