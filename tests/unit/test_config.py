"""Configs and version detection: what is accepted, and that everything else is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import CONFIG, OLDER, weights

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


@pytest.mark.parametrize("version", ["5", "5.3", "7a", "8", 7, 5.2, None, ["7"]])
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


@pytest.mark.parametrize("config", OLDER.values(), ids=OLDER)
def test_detects_the_older_versions(config: Config) -> None:
    assert detect(shapes(config)) == config
    flat = {name: shape if "time_" not in name or len(shape) > 1 else (1, 1, *shape) for name, shape in shapes(config).items()}
    assert detect(flat) == config
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


OLDER_BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "V4 with heads": ("4", {"heads": 5, "head_size": 4}),
    "V4 with ranks": ("4", {"ranks": {"mix": 9, "decay": 7}}),
    "V5 with a rank": ("5.2", {"ranks": {"w": 3}}),
    "V6 with V7's ranks": ("6", {"ranks": CONFIG.ranks}),
    "V6 without a mix": ("6", {"ranks": {"decay": 7}}),
    "V6 of rank 0": ("6", {"ranks": {"mix": 9, "decay": 0}}),
    "V7 as V6": ("6", {"version": "7"}),
}


@pytest.mark.parametrize("case", OLDER_BAD)
def test_bad_configs_of_older_versions_are_refused(case: str) -> None:
    version, change = OLDER_BAD[case]
    with pytest.raises(RwkvError) as e:
        Config.from_json({**OLDER[version].to_json(), **change})
    assert e.value.code == "bad-config"


@pytest.mark.parametrize("version", OLDER)
def test_every_missing_and_every_misshapen_tensor_of_older_versions_is_refused(version: str) -> None:
    whole = shapes(OLDER[version])
    for name, right in whole.items():
        without = {n: s for n, s in whole.items() if n != name}
        with suppress(RwkvError):  # a 5.1 without its gate, say, is no model of another version
            found = detect(without)
            pytest.fail(f"{found} without {name}")
        error = refused({**whole, name: (*right[:-1], right[-1] + 1, 1)})
        assert error.code in ("wrong-shape", "unsupported-architecture", "bad-config", "missing-tensor"), name
        assert error.code != "wrong-shape" or error.details["expected"] != error.details["found"]


def test_foreign_tensors_of_older_versions_are_named() -> None:
    error = refused({**shapes(OLDER["4"]), "blocks.1.tiny_q.weight": (20, 20)})
    assert error.code == "unsupported-architecture" and "RWKV-4 with the tensor blocks.1.tiny_q.weight" in error.details["found"]


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
OTHERS = {
    "RWKV-7a": v7(blocks__0__ffn__s_emb__weight=(40, 1024)),
    "RWKV-7b": v7(blocks__0__qkv__qq__weight=(20, 20)),
    "RWKV-8": v7(blocks__0__ffn__enn__weight=(40, 20)),
    "RWKV-7b ": v7(blocks__0__qkv__qq__weight=(20, 20), blocks__0__ffn__s_emb__weight=(40, 1024)),  # has 7a's tensors too
    "RWKV-8 ": v7(blocks__0__rosa__emb0=(40, 20)),
    "hybrid": v7(blocks__1__att__q_proj__weight=(20, 20)),  # what flash-linear-attention's hybrids become
    "hybrid ": {"embed_tokens.weight": (40, 20), "layers.0.self_attn.x_r": (20,), "layers.0.self_attn.q_proj.weight": (20, 20)},
    "hybrid  ": {"layers.0.self_attn.time_maa_x": (1, 1, 20), "layers.1.self_attn.k_proj.weight": (20, 20)},
    "blocks.1.ffn.receptance.weight": v7(blocks__1__ffn__receptance__weight=(20, 20)),
    "Hugging Face": {"rwkv.embeddings.weight": (40, 20), "rwkv.blocks.0.attention.time_decay": (20,)},
    "Hugging Face ": {"embeddings.weight": (40, 20), "layers.0.attn.x_r": (1, 1, 20)},
    "llama": {"layers.0.self_attn.q_proj.weight": (20, 20)},
    "Mamba": {"backbone.layers.0.mixer.A_log": (20, 16)},
    "LoRA": {"blocks.0.att.key.lora_A": (8, 20)},
    "state": {"blocks.0.att.time_state": (5, 4, 4)},
    "without tensors": {},
    "unet.conv": {"unet.conv": (3, 3)},
    "head size of 6": {**shapes(OLDER["5.2"]), "blocks.0.att.time_decay": (2, 6), "emb.weight": (40, 12)},
    "width of 18": shapes(CONFIG) | {n: tuple(18 if d == 20 else d for d in s) for n, s in shapes().items()} | {"blocks.0.att.r_k": (3, 6)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_architectures_are_refused_by_name(what: str) -> None:
    error = refused(OTHERS[what])
    assert error.code == "unsupported-architecture" and what.strip() in error.details["found"]


def test_a_part_of_a_model_says_where_the_rest_is() -> None:
    assert "index.json" in str(refused(OTHERS["Hugging Face"]))


@pytest.mark.parametrize("config", [*OLDER.values(), CONFIG], ids=lambda c: c.version)
@pytest.mark.parametrize(
    ("layers", "heads", "head_size", "vocab", "ffn"), [(1, 3, 4, 256, 1), (3, 1, 48, 50277, 97), (2, 5, 12, 65536, 130)]
)
def test_any_size_is_detected(config: Config, layers: int, heads: int, head_size: int, vocab: int, ffn: int) -> None:
    heads, head_size = (1, heads * head_size) if config.version == "4" else (heads, head_size)
    ranks = {name: 1 + 6 * i for i, name in enumerate(config.ranks)}
    made = Config(config.version, layers, heads * head_size, heads, head_size, ffn, vocab, ranks)
    assert detect(shapes(made)) == made


@pytest.mark.parametrize(("version", "factor"), [("6", "time_maa_w1"), ("6", "time_decay_w2"), ("7", "g1"), ("7", "w2")])
def test_factors_of_no_dialect_are_named(version: str, factor: str) -> None:
    """web-rwkv's files, where all are transposed, are put right before: here it is one."""
    whole = shapes({**OLDER, "7": CONFIG}[version])
    name = f"blocks.1.att.{factor}"
    error = refused({**whole, name: whole[name][::-1]})
    assert error.code == "wrong-shape" and error.details["name"] == name


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
