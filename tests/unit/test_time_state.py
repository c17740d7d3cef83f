"""State-tuned files: every version's orientation, web-rwkv's copies, and states of other models."""

from __future__ import annotations

import dialect_files as files
import numpy as np
import pytest
from make_pth import bf16, save

from py_rwkv.checkpoint.checkpoint import open_checkpoint
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.checkpoint.time_state import default_state, read_time_state
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import detect

RNG = np.random.default_rng(0)
TRAINED = {f"blocks.{i}.att.time_state": RNG.standard_normal((5, 4, 4)).astype("<f2").astype("<f4") for i in range(2)}  # [head, value, key]


def canonical(version: str) -> dict[int, np.ndarray]:
    return {i: t if version == "7" else t.transpose(0, 2, 1) for i, t in enumerate(TRAINED.values())}


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_orientations(version: str) -> None:
    config = files.config(version)
    half = {name: t.astype("<f2") for name, t in files.web_rwkv(TRAINED).items()}
    for source, layout, certain in (
        (BytesSource("s.pth", save(TRAINED)), "official", True),
        (BytesSource("s.pth", save({n: bf16(t).reshape(t.shape) for n, t in TRAINED.items()})), "official", True),
        (BytesSource("s.safetensors", files.safetensors(TRAINED)), "official", False),
        (BytesSource("s.st", files.safetensors(half)), "web-rwkv", False),
        (BytesSource("s.safetensors", files.safetensors(half)), "web-rwkv", False),
    ):
        state = read_time_state(source, config)
        assert (state.layout, state.certain) == (layout, certain)
        assert set(state.layers) == {0, 1}
        for i, wanted in canonical(version).items():
            assert state.layers[i].dtype == np.float32 and state.layers[i].flags.c_contiguous
            np.testing.assert_allclose(state.layers[i], wanted, rtol=0.01)
    told = read_time_state(BytesSource("s.st", files.safetensors(half)), config, "official")
    assert told.certain and np.array_equal(told.layers[0], canonical(version)[0].transpose(0, 2, 1))


@pytest.mark.parametrize("version", ["5.2", "6", "7"])
def test_states_inside_a_model_file(version: str) -> None:
    w = files.weights(files.config(version))
    config = detect({n: t.shape for n, t in w.items()})
    for c in (
        open_checkpoint(BytesSource("m.pth", save(w | TRAINED))),
        open_checkpoint(BytesSource("m.st", files.safetensors(files.web_rwkv(w | TRAINED)))),
    ):
        assert detect(c.shapes) == config
        state = default_state(c, config)
        assert state is not None and all(np.array_equal(state.array(f"blocks.{i}.wkv"), s) for i, s in canonical(version).items())
    assert default_state(open_checkpoint(BytesSource("m.pth", save(w))), config) is None
    whole = read_time_state(BytesSource("m.st", files.safetensors(files.web_rwkv(w | TRAINED))), config)
    assert whole.certain and np.array_equal(whole.layers[1], canonical(version)[1])


def refused(arrays: files.Arrays, version: str = "7") -> RwkvError:
    with pytest.raises(RwkvError) as e:
        read_time_state(BytesSource("s.pth", save(arrays)), files.config(version))
    return e.value


def test_states_of_other_models() -> None:
    one = dict(list(TRAINED.items())[:1])
    e = refused(one)
    assert (
        e.code == "state-mismatch"
        and e.details["expected"] == "2 layers of 5 × 4 × 4 (RWKV-7)"
        and e.details["found"] == "1 layers of 5 × 4 × 4"
    )
    assert refused({n: np.zeros((5, 8, 8), "<f4") for n in TRAINED}).details["found"] == "2 layers of 5 × 8 × 8"
    assert "RWKV-4" in refused(TRAINED, "4").details["expected"]
    assert "blocks.0.att.key" in refused({"blocks.0.att.key": np.zeros(3, "<f4")}).details["found"]
    assert refused({n: t * np.float32(np.nan) for n, t in TRAINED.items()}).code == "bad-weights"
