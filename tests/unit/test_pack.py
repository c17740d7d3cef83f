"""Packing: the layout the documentation promises, exact where it can be, and errors that name the tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from make_pth import View, bf16, save
from models import pieces
from tiny_model import CONFIG, OLDER, weights

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.layout import layout
from py_rwkv.checkpoint.quantizer import NumpyQuantizer
from py_rwkv.checkpoint.safetensors import Piece
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config
from py_rwkv.quant import ENCODINGS, parse_strategy

NUMPY = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4"}


def checkpoint(tensors: Mapping[str, np.ndarray | View]) -> Checkpoint:
    return open_checkpoint(BytesSource("m.pth", save(tensors)))


def packed(tensors: Mapping[str, np.ndarray | View], strategy: str = "f32", config: Config = CONFIG) -> dict[str, np.ndarray]:
    def array(p: Piece) -> np.ndarray:
        return np.frombuffer(p.data, NUMPY[p.dtype]).reshape(p.shape)

    return {p.name: array(p) for p in pieces(checkpoint(tensors), config, parse_strategy(strategy))}


def test_f32_holds_exactly_the_checkpoint() -> None:
    w = weights()
    p = packed(w)
    assert list(p) == [t.name for t in layout(CONFIG)]
    for name, array in p.items():
        if name == "emb.weight":
            continue
        if array.ndim == 1:
            assert np.array_equal(array, w[name].reshape(-1)), name
        else:
            wanted = w[name].T if name[-1] in "12" else w[name]
            assert np.array_equal(array[:, : wanted.shape[1]], wanted) and not array[:, wanted.shape[1] :].any(), name
            assert array.shape == (wanted.shape[0], -(-wanted.shape[1] // 16) * 16), name
    assert not {"blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2"} & set(p)
    assert "blocks.1.att.v1" in p


def test_ln0_is_folded_into_the_embedding() -> None:
    w = weights()
    x = w["emb.weight"].astype("f8")
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    folded = x * w["blocks.0.ln0.weight"] + w["blocks.0.ln0.bias"]
    assert np.allclose(packed(w)["emb.weight"][:, :20], folded, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", ["f16", "int8", "int8, head=f16", "int4, ffn=nf4"])
def test_encodings_of_the_padded_matrices(strategy: str) -> None:
    plain, p = packed(weights()), packed(weights(), strategy)
    for t in layout(CONFIG):
        if t.kind == "vector":
            assert np.array_equal(p[t.name], plain[t.name])
        else:
            e = ENCODINGS[parse_strategy(strategy).encoding(t.name)]
            assert all(np.array_equal(p[t.name + s], part) for s, part in e.encode(plain[t.name]).items())
    assert list(p).index("emb.weight") > list(p).index("emb.weight.scale") if "int" in strategy else "emb.weight.scale" not in p


def test_16_bit_sources_are_read_exactly() -> None:
    w = weights(dtype="<f2")
    assert np.array_equal(packed(w)["head.weight"][:, :20], w["head.weight"].astype("f4"))
    b = {name: bf16(t) for name, t in weights().items()}
    exact = (b["head.weight"].astype("<u4") << 16).view("<f4")
    assert np.array_equal(packed(b)["head.weight"][:, :20], exact)


@pytest.mark.parametrize("blocks", [1, 7, 1000])
def test_repeated_rows_are_stored_once(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyQuantizer, "weights", blocks * 32)  # rows per block must not matter
    w = weights()
    rows = np.arange(40) % 19
    rows[30:] = 5
    w["head.weight"] = w["head.weight"][rows]
    p, plain = packed(w, "int8"), packed(weights(), "int8")
    assert p["head.weight"].shape == (19, 32) and p["head.weight.scale"].shape == (19, 1) and p["head.weight.rows"].dtype == np.uint16
    for suffix in ("", ".scale"):
        assert np.array_equal(p["head.weight" + suffix][p["head.weight.rows"]], plain["head.weight" + suffix][rows])
    order = [n for n in p if n.startswith("head.weight")]
    assert order == ["head.weight.rows", "head.weight.scale", "head.weight"]
    w["head.weight"] = weights()["head.weight"][np.arange(40) % 20]  # exactly half: not more than half
    p = packed(w, "int8")
    assert "head.weight.rows" not in p and np.array_equal(p["head.weight"], plain["head.weight"][np.arange(40) % 20])


def test_tied_and_transposed_storages() -> None:
    w = weights()
    key = w["blocks.1.att.key.weight"]
    tied = w["emb.weight"].reshape(-1)
    odd: dict[str, np.ndarray | View] = {**w, "blocks.1.att.key.weight": View(np.ascontiguousarray(key.T).reshape(-1), (20, 20), (1, 20))}
    odd |= {name: View(tied, (40, 20), (20, 1)) for name in ("emb.weight", "head.weight")}
    p = packed(odd)
    assert np.array_equal(p["blocks.1.att.key.weight"][:, :20], key) and np.array_equal(p["head.weight"][:, :20], w["emb.weight"])


@pytest.mark.parametrize("name", ["emb.weight", "blocks.0.ln0.bias", "blocks.1.att.x_r", "blocks.1.ffn.value.weight", "blocks.0.att.w1"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_numbers(name: str, value: float) -> None:
    w = weights()
    w[name].reshape(-1)[-1] = value
    with pytest.raises(RwkvError) as e:
        packed(w)
    assert e.value.code == "bad-weights" and e.value.details["name"] == name


@pytest.mark.parametrize("strategy", ["f16", "int8"])
def test_weights_too_large_for_f16(strategy: str) -> None:
    w = weights()
    w["head.weight"][3, 3] = 70000
    assert packed(w)["head.weight"][3, 3] == 70000
    with pytest.raises(RwkvError) as e:
        packed(w, strategy)
    assert e.value.code == "weights-too-large" and e.value.details["name"] == "head.weight"


@pytest.mark.parametrize("config", OLDER.values(), ids=OLDER)
def test_older_versions_fold_their_vectors(config: Config) -> None:
    """docs/architecture.md: time_maa = 1 − time_mix (V4, V5); decay = exp(−exp(time_decay)) and the bonus of V5 have a value per channel."""
    w = weights(config)
    p = packed(w, config=config)
    assert list(p) == [t.name for t in layout(config)]
    spread = lambda v: np.repeat(v.reshape(-1).astype("f8"), config.embd // v.size)  # noqa: E731
    for name, array in p.items():
        official = name.replace("time_maa", "time_mix") if config.version != "6" else name
        if array.ndim == 2 or name == "emb.weight":
            continue
        if "time_maa" in name and config.version != "6":
            wanted = 1 - spread(w[official])
        elif name.endswith(".decay"):
            wanted = np.exp(-np.exp(spread(w[name.replace("decay", "time_decay")])))
        elif name.endswith("time_faaaa") and config.version == "5.0":
            wanted = np.exp(spread(w[name.replace("faaaa", "first")]))
        elif name.endswith("time_faaaa"):
            wanted = spread(w[name])
        else:
            wanted = w[name].reshape(-1)
        assert array.shape == wanted.shape and np.allclose(array, wanted, rtol=1e-7, atol=0), name


def test_the_five_factors_of_rwkv6() -> None:
    config = OLDER["6"]
    w, p = weights(config), packed(weights(config), config=config)
    down, up = (p[f"blocks.1.att.time_maa_w{i}"] for i in (1, 2))
    assert down.shape == (5 * 16, 32) and up.shape == (5 * 20, 16)
    for j in range(5):
        rows = down[16 * j : 16 * (j + 1)]
        assert np.array_equal(rows[:9, :20], w["blocks.1.att.time_maa_w1"][:, 9 * j : 9 * (j + 1)].T) and not rows[9:].any()
        assert np.array_equal(up[20 * j : 20 * (j + 1), :9], w["blocks.1.att.time_maa_w2"][j].T) and not up[:, 9:].any()


def test_a_decay_beyond_all_bounds_is_zero_and_a_bonus_is_refused() -> None:
    w = weights(OLDER["5.0"])
    w["blocks.1.att.time_decay"][2] = 1000
    assert np.array_equal(packed(w, config=OLDER["5.0"])["blocks.1.att.decay"][8:12], np.zeros(4))
    w["blocks.1.att.time_first"][2] = 1000
    with pytest.raises(RwkvError) as e:
        packed(w, config=OLDER["5.0"])
    assert e.value.code == "bad-weights" and e.value.details["name"] == "blocks.1.att.time_first"
