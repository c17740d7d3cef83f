"""Configs and version detection: what is accepted, and that everything else is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import CONFIG, weights

from py_rwkv.errors import RwkvError
from py_rwkv.models.config import Config, detect, tensors

Shapes = dict[str, tuple[int, ...]]


def shapes(config: Config = CONFIG) -> Shapes:
    return {name: shape for name, shape, _, _ in tensors(config)}


def refused(s: Shapes) -> RwkvError:
    with pytest.raises(RwkvError) as e:
        detect(s)
    return e.value


def test_round_trip_through_json() -> None:
    assert Config.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG
    assert len({CONFIG, CONFIG}) == 1  # hashable: programs are cached by config


BAD: list[dict[str, Any]] = [
    {"layers": 0},
    {"layers": True},
    {"layers": 2.0},
    {"vocab": "40"},
    {"vocab": 1 << 25},
    {"heads": 4},
    {"extra": 1},
    {"group_norm_eps": 0},
]
BAD += [
    {"ranks": {"w": 1}},
    {"ranks": {**CONFIG.ranks, "g": 0}},
    {"ranks": [1]},
    {"ranks": {**CONFIG.ranks, "v": 0}},
    {"group_norm_eps": "1"},
    {"embd": 1 << 40},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_bad_configs_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RwkvError) as e:
        Config.from_json({**CONFIG.to_json(), **change})
    assert e.value.code == "bad-config"


@pytest.mark.parametrize("version", ["4", "6", "8", 7, None, ["7"]])
def test_other_versions_are_refused(version: object) -> None:
    with pytest.raises(RwkvError) as e:
        Config.from_json({**CONFIG.to_json(), "version": version})
    assert e.value.code == "unsupported-architecture"


def test_detects_rwkv7_with_vectors_of_any_form() -> None:
    assert detect(shapes()) == CONFIG
    assert detect({name: w.shape for name, w in weights().items()}) == CONFIG  # [1, 1, C]


@pytest.mark.parametrize("missing", ["blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2"])
def test_layer_0_needs_no_value_mix(missing: str) -> None:
    s = shapes()
    del s[missing]
    assert detect(s) == CONFIG
    assert detect({n: shape for n, shape in s.items() if n[:14] != "blocks.0.att.v" or n.endswith("weight")}) == CONFIG


def test_one_layer() -> None:
    one = Config("7", 1, 20, 5, 4, 72, 40, {**CONFIG.ranks})
    assert detect(shapes(one)) == one
    bare = {n: shape for n, shape in shapes(one).items() if n not in ("blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2")}
    assert detect(bare).ranks == {**CONFIG.ranks, "v": 0}


@pytest.mark.parametrize("name", [e.name for e in tensors(CONFIG) if not e.optional])
def test_every_missing_and_every_misshapen_tensor_is_named(name: str) -> None:
    s = shapes()
    right = s.pop(name)
    error = refused(s)
    assert error.code == "missing-tensor" and error.details["name"] == name
    error = refused({**s, name: (*right[:-1], right[-1] + 1, 1)})
    assert error.code in ("wrong-shape", "unsupported-architecture") and error.details.get("name", name) == name


def test_a_wrong_shape_says_what_was_expected_and_found() -> None:
    error = refused({**shapes(), "blocks.1.ffn.key.weight": (72, 24)})
    assert error.to_dict() | {"message": "", "hint": ""} == {
        "code": "wrong-shape",
        "message": "",
        "hint": "",
        "details": {"name": "blocks.1.ffn.key.weight", "expected": "72 × 20", "found": "72 × 24"},
    }


def v7(**extra: tuple[int, ...]) -> Shapes:
    return {**shapes(), **{name.replace("__", "."): shape for name, shape in extra.items()}}


EMB = {"emb.weight": (40, 20)}
LN_X = {**EMB, "blocks.0.att.ln_x.weight": (20,)}
OTHERS = {
    "RWKV-4": {**EMB, "blocks.0.att.time_decay": (20,), "blocks.0.att.time_first": (20,)},
    "RWKV-5.0": {**LN_X, "blocks.0.att.time_decay": (5,)},
    "RWKV-5.1": {**LN_X, "blocks.0.att.gate.weight": (20, 20), "blocks.0.att.time_decay": (5,)},
    "RWKV-5.2": {**LN_X, "blocks.0.att.gate.weight": (20, 20), "blocks.0.att.time_decay": (5, 4)},
    "RWKV-6": {**LN_X, "blocks.0.att.time_maa_x": (1, 1, 20)},
    "RWKV-6 ": {**LN_X, "blocks.0.att.time_mix_x": (1, 1, 20), "blocks.0.att.time_mix_w1": (160, 20)},
    "RWKV-7a": v7(blocks__0__ffn__s_emb__weight=(40, 1024)),
    "RWKV-7b": v7(blocks__0__qkv__qq__weight=(20, 20)),
    "RWKV-8": v7(blocks__0__ffn__enn__weight=(40, 20)),
    "web-rwkv": {**shapes(), "blocks.0.att.w1": (6, 20)},
    "blocks.1.ffn.receptance.weight": v7(blocks__1__ffn__receptance__weight=(20, 20)),
    "Hugging Face": {"rwkv.embeddings.weight": (40, 20), "rwkv.blocks.0.attention.time_decay": (20,)},
    "Hugging Face ": {"embeddings.weight": (40, 20), "layers.0.attn.x_r": (1, 1, 20)},
    "llama": {"layers.0.self_attn.q_proj.weight": (20, 20)},
    "Mamba": {"backbone.layers.0.mixer.A_log": (20, 16)},
    "LoRA": {"blocks.0.att.key.lora_A": (8, 20)},
    "state": {"blocks.0.att.time_state": (5, 4, 4)},
    "without tensors": {},
    "unet.conv": {"unet.conv": (3, 3)},
    "width of 18": shapes(CONFIG) | {n: tuple(18 if d == 20 else d for d in s) for n, s in shapes().items()} | {"blocks.0.att.r_k": (3, 6)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_architectures_are_refused_by_name(what: str) -> None:
    error = refused(OTHERS[what])
    assert error.code == "unsupported-architecture" and what.strip() in error.details["found"]


def test_recognized_versions_are_announced() -> None:
    assert "recognized, but not supported yet" in str(refused(OTHERS["RWKV-6"]))


def test_a_state_inside_a_model_is_no_obstacle() -> None:
    assert detect(v7(blocks__0__att__time_state=(5, 4, 4))) == CONFIG


def test_absurd_layer_numbers_do_not_cost_anything() -> None:
    assert refused(v7(blocks__999999__att__x_r=(20,))).code in ("missing-tensor", "bad-config")
    assert refused({**shapes(), f"blocks.{10**30}.att.x_r": (20,)}).code in ("missing-tensor", "unsupported-architecture")


names = st.sampled_from([*shapes(), "x", "blocks.7.att.x_r", "blocks.2.att.r_k"])


@given(st.dictionaries(names, st.lists(st.integers(0, 70), max_size=4).map(tuple), max_size=8))
def test_random_shapes_give_a_config_or_a_code(change: Shapes) -> None:
    for s in (change, {**shapes(), **change}):
        with suppress(RwkvError):
            detect(s)
