"""A conversion that is interrupted after any of its shards, and goes on: the same files, nothing written twice, nothing read that is done."""

from __future__ import annotations

import json

import pytest
from make_pth import save
from models import converted
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.manifest import Manifest
from py_rwkv.checkpoint.resume import Resume
from py_rwkv.checkpoint.shards import MemorySink
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.models.config import Config
from py_rwkv.runtime.plan import Need, need, need_of

LIMIT = 6000  # bytes: several shards, and tensors that are cut between them


class Stopped(Exception):
    pass


class Stopping(MemorySink):
    """Keeps what comes, and stops after so many shards."""

    def __init__(self, resume: Resume, after: int) -> None:
        super().__init__()
        self.resume, self.after, self.state = resume, after, ""

    def shard(self, sha256: str, data: bytes) -> None:
        super().shard(sha256, data)
        self.state = self.resume.state()
        if len(self.shards) == self.after:
            raise Stopped

    def abort(self) -> None: ...


def opened(config: Config) -> Checkpoint:
    return open_checkpoint(BytesSource("model.pth", save(weights(config))))


def run(config: Config, strategy: str, sink: MemorySink, resume: Resume | None = None) -> tuple[Manifest, list[int]]:
    """The manifest, and what was told of the progress."""
    told: list[int] = []
    options = {"strategy": strategy, "shard_limit": LIMIT, "resume": resume, "progress": lambda _, done, total: told.append(total - done)}
    return converted(opened(config), sink, **options), told


@pytest.mark.parametrize(("config", "strategy"), [(CONFIG, "int8"), (CONFIG, "f32, emb=nf4"), (OLDER["6"], "nf4")])
def test_any_interruption_gives_the_same_model(config: Config, strategy: str) -> None:
    whole = MemorySink()
    expected, told = run(config, strategy, whole)
    count = len(expected.shards)
    assert count > 4 and told[-1] == 0
    for after in range(1, count):
        resume = Resume()
        first = Stopping(resume, after)
        with pytest.raises(Stopped):
            run(config, strategy, first, resume)
        rest = MemorySink()
        found, told = run(config, strategy, rest, Resume(first.state))
        assert found == expected and told[-1] == 0
        assert len(rest.shards) == count - after and first.shards | rest.shards == whole.shards


def test_what_is_left_of_another_model_is_not_used() -> None:
    resume = Resume()
    first = Stopping(resume, 2)
    with pytest.raises(Stopped):
        run(CONFIG, "int8", first, resume)
    expected, _ = run(CONFIG, "nf4", MemorySink())
    damaged = json.loads(first.state)
    del damaged["tensors"]
    for text in (first.state, json.dumps(damaged), "{}", "no json", "[1]"):
        assert run(CONFIG, "nf4", MemorySink(), Resume(text))[0] == expected


@pytest.mark.parametrize("strategy", ["int8", "nf4", "f16 *1 -> int4, head=f32"])
def test_the_planned_size_is_that_of_the_model(strategy: str) -> None:
    config = Config("7", 2, 128, 2, 64, 512, 300, {"w": 16, "a": 16, "v": 16, "g": 32})
    manifest = converted(opened(config), MemorySink(), strategy=strategy)
    planned = need(config, strategy)
    assert abs(planned.disk - manifest.total_bytes) < 0.04 * manifest.total_bytes
    assert planned.gpu > planned.disk * 0.9 and planned.binding >= 128 << 20
    assert need_of(manifest) == Need(manifest.total_bytes, planned.gpu, planned.binding)
