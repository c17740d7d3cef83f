"""LoRA: merged in f32 as written, from either layout; what does not fit says what was expected and what was found."""

from __future__ import annotations

import dialect_files as files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_pth import save
from models import pieces

from py_rwkv.checkpoint.checkpoint import Checkpoint, open_checkpoint
from py_rwkv.checkpoint.convert import natural_strategy
from py_rwkv.checkpoint.lora import Lora, parse_lora, with_lora
from py_rwkv.checkpoint.quantizer import NumpyQuantizer
from py_rwkv.checkpoint.source import BytesSource
from py_rwkv.errors import RwkvError
from py_rwkv.models.config import detect
from py_rwkv.quant import parse_strategy

R = 3
C7 = files.config("7")
W = files.weights(C7)
BASE = open_checkpoint(BytesSource("base.pth", save(W)))


def lora_arrays(seed: int = 5, version: str = "7") -> files.Arrays:
    rng = np.random.default_rng(seed)
    w = files.weights(files.config(version))
    a: files.Arrays = {}
    for name in ("blocks.0.att.key", "blocks.1.ffn.key", "blocks.1.ffn.value"):
        out, inputs = w[f"{name}.weight"].shape
        a[f"{name}.lora_A"] = rng.standard_normal((R, inputs)).astype("<f4")
        a[f"{name}.lora_B"] = rng.standard_normal((out, R)).astype("<f4")
    for name in ("blocks.0.ln1.weight", "blocks.1.att.x_k" if version == "7" else "blocks.1.att.time_maa_k"):
        a[name] = rng.standard_normal(w[name].shape).astype("<f4")
    return a


def pth(arrays: files.Arrays, name: str = "lora.pth") -> BytesSource:
    return BytesSource(name, save(arrays))


def st_file(arrays: files.Arrays) -> BytesSource:
    return BytesSource("lora.st", files.safetensors(files.web_rwkv(arrays)))


def merged(w: files.Arrays, a: files.Arrays, alpha: float, blend: float = 1) -> files.Arrays:
    out = dict(w)
    for name, x in a.items():
        if name.endswith("lora_B"):
            base = name.removesuffix(".lora_B")
            out[base + ".weight"] = w[base + ".weight"] + np.float32(alpha / R) * (x @ a[base + ".lora_A"])
        elif "lora" not in name:
            out[name] = blend * x + (1 - blend) * w[name]
    return out


def close(c: Checkpoint, wanted: files.Arrays) -> None:
    assert set(c.tensors) == set(wanted)
    for name, w in wanted.items():
        assert c.tensors[name].shape == w.shape
        np.testing.assert_allclose(c.f32(name), w, rtol=0, atol=2e-6, err_msg=name)


def test_both_layouts() -> None:
    a = lora_arrays()
    close(with_lora(BASE, [Lora(pth(a), 32)]), merged(W, a, 32))
    close(with_lora(BASE, [Lora(st_file(a), 32)]), merged(W, a, 32))


def test_untouched_tensors_keep_their_bytes_and_the_base_is_not_changed() -> None:
    c = with_lora(BASE, [Lora(pth(lora_arrays()), 32)])
    assert c.read("blocks.1.att.key.weight") == BASE.read("blocks.1.att.key.weight") == W["blocks.1.att.key.weight"].tobytes()
    assert BASE.read("blocks.0.att.key.weight") == W["blocks.0.att.key.weight"].tobytes()


def test_v6_vectors_under_web_rwkv_names() -> None:
    w, a = files.weights(files.config("6")), lora_arrays(version="6")
    base = open_checkpoint(BytesSource("base.st", files.safetensors(files.web_rwkv(w))))
    close(with_lora(base, [Lora(st_file(a), 4)]), merged(w, a, 4))


def test_several_files_patterns_and_blends() -> None:
    a, b = lora_arrays(1), lora_arrays(2)
    after = merged(merged(W, a, 8), b, 2, blend=0.25)
    close(with_lora(BASE, [Lora(pth(a), 8), Lora(pth(b), 2, blend=0.25)]), after)
    some = with_lora(BASE, [Lora(pth(a), {r"blocks\.1\.ffn\.": 8, r"\.att\.key\.": 3})])
    eight, three = merged(W, a, 8), merged(W, a, 3)
    close(some, {n: eight[n] if "blocks.1.ffn" in n else three[n] if ".att.key." in n else w for n, w in W.items()})


def test_whole_matrices_replace_or_are_added() -> None:
    x = {"blocks.0.att.key.weight": np.ones((20, 20), "<f4"), "blocks.0.att.output.lora_A": np.zeros((R, 20), "<f4")}
    x |= {"blocks.0.att.output.lora_B": np.zeros((20, R), "<f4")}
    assert (with_lora(BASE, [Lora(pth(x), 2)]).f32("blocks.0.att.key.weight") == 1).all()
    added = with_lora(BASE, [Lora(st_file(x), 2)])
    np.testing.assert_array_equal(added.f32("blocks.0.att.key.weight"), W["blocks.0.att.key.weight"] + 2)
    head = {"head.weight": np.ones((40, 20), "<f4"), **x}
    assert (with_lora(BASE, [Lora(pth(head), 2)]).f32("head.weight") == 1).all()
    assert with_lora(BASE, [Lora(st_file(head), 2)]).read("head.weight") == W["head.weight"].tobytes()


def test_a_rank_as_large_as_the_width(rng: np.random.Generator) -> None:
    a = {f"blocks.0.att.key.lora_{x}": rng.standard_normal((20, 20)).astype("<f4") for x in "AB"}
    wanted = W["blocks.0.att.key.weight"] + np.float32(0.5) * (a["blocks.0.att.key.lora_B"] @ a["blocks.0.att.key.lora_A"])
    for source in (pth(a), st_file(a)):
        np.testing.assert_allclose(with_lora(BASE, [Lora(source, 10)]).f32("blocks.0.att.key.weight"), wanted, atol=1e-5)


def test_rows_in_blocks_and_before_quantization(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyQuantizer, "weights", 60)
    a = lora_arrays()
    half = open_checkpoint(BytesSource("h.pth", save({n: w.astype("<f2") for n, w in W.items()})))
    c = with_lora(half, [Lora(pth(a), 32)])
    assert natural_strategy(c) == "f16"  # that of the model, not of the sum
    found = {p.name: p for p in pieces(c, detect(c.shapes), parse_strategy("f32"))}
    w = W["blocks.1.ffn.key.weight"].astype("<f2").astype("f4")
    wanted = w + np.float32(32 / 3) * (a["blocks.1.ffn.key.lora_B"] @ a["blocks.1.ffn.key.lora_A"])
    got = np.frombuffer(found["blocks.1.ffn.key.weight"].data, "<f4").reshape(36, 32)[:, :20]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6)


def refused(source: BytesSource, **more: object) -> RwkvError:
    with pytest.raises(RwkvError) as e:
        with_lora(BASE, [Lora(source, **{"alpha": 1.0, **more})])  # type: ignore[arg-type]
    return e.value


def test_shapes_that_do_not_fit() -> None:
    a = lora_arrays()
    a["blocks.0.att.key.lora_A"] = np.zeros((R, 24), "<f4")
    e = refused(pth(a))
    assert e.code == "lora-mismatch" and e.details["name"] == "blocks.0.att.key"
    assert (e.details["expected"], e.details["found"]) == ("20 × rank times rank × 20", "20 × 3 times 3 × 24")
    e = refused(pth({"blocks.0.ln1.weight": np.zeros(24, "<f4")}))
    assert (e.code, e.details["expected"], e.details["found"]) == ("lora-mismatch", "20", "24")
    e = refused(pth({"blocks.7.att.key.lora_A": np.zeros((R, 20), "<f4"), "blocks.7.att.key.lora_B": np.zeros((20, R), "<f4")}))
    assert e.code == "lora-mismatch" and e.details["name"] == "blocks.7.att.key"
    e = refused(pth({"blocks.0.att.key.lora_A": np.zeros((R, 20), "<f4")}))
    assert e.details["expected"] == "two factors" and e.details["found"] == "1 (A)"


def test_other_kinds_are_refused_by_name() -> None:
    x = np.zeros((R, 20), "<f4")
    for name, word in (("init_lora_A", "PiSSA"), ("disha", "DiSHA"), ("bone", "Bone"), ("miss", "MiSS")):
        e = refused(pth({f"blocks.0.att.key.{name}": x}))
        assert e.code == "lora-unsupported" and word in str(e) and name in str(e)
    assert refused(pth(lora_arrays(), "rwkv-pissa-3.pth")).code == "lora-unsupported"


def test_settings() -> None:
    assert refused(pth(lora_arrays()), alpha=float("nan")).code == "bad-setting"
    assert refused(pth(lora_arrays()), blend="x").code == "bad-setting"
    e = refused(pth(lora_arrays()), alpha={"(": 1.0})
    assert e.code == "bad-setting" and e.details["expected"] == "a regular expression"
    e = refused(pth(lora_arrays()), alpha={"": 1.0, "att.output": 2.0})
    assert e.code == "bad-setting" and e.details["found"] == "att.output" and "blocks.0.att.key.weight" in e.details["expected"]


def test_the_last_pattern_found_counts() -> None:
    a = lora_arrays()
    eight, three = merged(W, a, 8), merged(W, a, 3)
    close(with_lora(BASE, [Lora(pth(a), {"": 8, "blocks.1.ffn": 3})]), {n: three[n] if "blocks.1.ffn" in n else eight[n] for n in W})
    close(with_lora(BASE, [Lora(pth(a), {"blocks.1.ffn": 3, "": 8})]), eight)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a.pth:32", ("a.pth", {"": 32}, 1)),
        ("a.st:blocks\\.[0-3]\\..*=0.5", ("a.st", {"blocks\\.[0-3]\\..*": 0.5}, 1)),
        ("x/a.pth:32,ffn=1e1,a{1,2}=-.5,blend=0.25", ("x/a.pth", {"": 32, "ffn": 10, "a{1,2}": -0.5}, 0.25)),
        ("https://host:8/a.pth?x=1:(?:att|ffn)=2,(?=k)=3", ("https://host:8/a.pth?x=1", {"(?:att|ffn)": 2, "(?=k)": 3}, 1)),
        ("C:\\a.safetensors:5", ("C:\\a.safetensors", {"": 5}, 1)),
        ("lora:5", ("lora", {"": 5}, 1)),
    ],
)
def test_options(text: str, parsed: object) -> None:
    assert parse_lora(text) == parsed


@pytest.mark.parametrize("text", ["", "a.pth", "a.pth:", "a.pth:x", "a.pth:1,", "a.pth:x=", ":3", "a.pth:ffn=1 2"])
def test_options_that_say_nothing(text: str) -> None:
    with pytest.raises(RwkvError) as e:
        parse_lora(text)
    assert e.value.code == "bad-setting" and "FILE:ALPHA" in e.value.details["expected"]


def test_overflow_is_found_when_packing() -> None:
    a = lora_arrays()
    c = with_lora(BASE, [Lora(pth({n: x * np.float32(1e30) for n, x in a.items()}), 1e9)])
    with pytest.raises(RwkvError) as e:
        list(pieces(c, detect(c.shapes), parse_strategy("f32")))
    assert e.value.code == "bad-weights"


NAMES = st.sampled_from(["blocks.0.att.key", "blocks.1.ffn.value", "blocks.0.ln1.weight", "blocks.9.att.x", "emb.weight", "x"])
ENDS = st.sampled_from(["", ".lora_A", ".lora_B", ".lora.0", ".lora.1", ".lora_A.weight", ".weight"])
SHAPES = st.lists(st.integers(0, 20), max_size=3)


@given(st.dictionaries(st.tuples(NAMES, ENDS), SHAPES, min_size=1, max_size=5))
def test_any_table_of_tensors_gives_a_checkpoint_or_a_code(table: dict[tuple[str, str], list[int]]) -> None:
    arrays = {name + end: np.zeros(shape, "<f4") for (name, end), shape in table.items()}
    source = BytesSource("l.st", files.safetensors(arrays))
    try:
        c = with_lora(BASE, [Lora(source, 1.0)])
    except RwkvError as e:
        code = e.code
    else:
        code = ""
        assert all(c.f32(name).shape == BASE.tensors[name].shape for name in c.tensors)
    assert code in ("", "lora-mismatch", "duplicate-tensor")
