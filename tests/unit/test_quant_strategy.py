"""Strategy strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_rwkv.errors import RwkvError
from py_rwkv.quant import ENCODINGS, parse_strategy

MATRICES = (
    "emb.weight",
    "blocks.0.att.key.weight",
    "blocks.0.ffn.key.weight",
    "blocks.19.att.w1",
    "blocks.20.ffn.value.weight",
    "head.weight",
)


def encodings(text: str) -> list[str]:
    return [parse_strategy(text).encoding(name) for name in MATRICES]


@pytest.mark.parametrize(
    ("text", "normal", "stored"),
    [
        ("int8", "int8", ["int8"] * 6),
        (" int8 ,head = f16,emb=f32", "int8, emb=f32, head=f16", ["f32", "int8", "int8", "int8", "int8", "f16"]),
        ("nf4,ffn=int4 , att=int8", "nf4, att=int8, ffn=int4", ["nf4", "int8", "int4", "int8", "int4", "nf4"]),
        ("int8 *20 -> f16", "int8 *20 -> f16", ["int8", "int8", "int8", "int8", "f16", "f16"]),
        ("f16*1->int8  *19 ->nf4", "f16 *1 -> int8 *19 -> nf4", ["f16", "f16", "f16", "int8", "nf4", "nf4"]),
        ("int8 *1 -> nf4, att=f16, emb=f32, head=int8", None, ["f32", "f16", "int8", "f16", "nf4", "int8"]),
    ],
)
def test_which_matrix_is_stored_how(text: str, normal: str | None, stored: list[str]) -> None:
    s = parse_strategy(text)
    assert (normal is None or s.text == normal) and parse_strategy(s.text) == s and encodings(s.text) == stored == encodings(text)


@pytest.mark.parametrize(
    ("text", "named", "choice"),
    [
        ("int9", "int9", "nf4"),
        ("", "", "nf4"),
        ("int8, f16", "f16", "head="),
        ("int8, tail=f16", "tail=f16", "att="),
        ("int8, low-rank=f16", "low-rank=f16", "att="),
        ("int8, head=q4", "q4", "int4"),
        ("int8 *20", "int8 *20", "nf4"),
        ("int8 -> f16", "int8", "*LAYERS"),
        ("int8 *0 -> f16", "int8 *0", "*LAYERS"),
        ("int8 *x -> f16", "int8 *x", "*LAYERS"),
        ("int8 *20 -> ", "", "nf4"),
        ("q4 *20 -> f16", "q4", "nf4"),
    ],
)
def test_unknown_parts_are_named_with_the_choices(text: str, named: str, choice: str) -> None:
    with pytest.raises(RwkvError) as e:
        parse_strategy(text)
    assert e.value.code == "unknown-strategy" and e.value.details["found"] == named and choice in e.value.details["choices"]


@given(st.text(alphabet="intf4816n *->,=headembatff", max_size=40) | st.text(max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        s = parse_strategy(text)
    except RwkvError:  # of which there is only one kind
        return
    assert parse_strategy(s.text) == s and set(map(s.encoding, MATRICES)) <= set(ENCODINGS)
