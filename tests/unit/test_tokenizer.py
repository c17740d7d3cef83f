"""World and byte tokenizers, the packed vocabulary, streaming UTF-8."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_rwkv.tokenizer import Utf8Stream, tokenizer_for
from py_rwkv.tokenizer.vocabulary import pack, unpack

WORLD = tokenizer_for("world")
BYTES = [f"{i + 1} {bytes([i])!r} 1" if i > 127 else f"{i + 1} {chr(i)!r} 1" for i in range(256)]

VECTORS = {  # computed by the reference implementation
    "": [],
    "\n": [11],
    "\n\n": [261],
    "Hello world!": [33155, 40213, 34],
    "你好": [10464, 11685],
    "User: hi\n\nAssistant:": [24281, 59, 4571, 261, 5585, 41693, 59],
    " <think": [295, 35762],
    "Assistant: <think></think": [5585, 41693, 59, 295, 35762, 5439, 35762],
}


@pytest.mark.parametrize("text", VECTORS)
def test_world_gives_the_published_tokens(text: str) -> None:
    assert WORLD.encode(text) == VECTORS[text]
    assert WORLD.decode(VECTORS[text]) == text


def greedy(text: str) -> list[int]:
    """Longest match the obvious way: every length from 128 down."""
    ids = {WORLD.token_bytes(i): i for i in range(1, 65530)}
    data, at, out = text.encode(), 0, []
    while at < len(data):
        size = next(n for n in range(min(128, len(data) - at), 0, -1) if data[at : at + n] in ids)
        out.append(ids[data[at : at + size]])
        at += size
    return out


def test_world_takes_the_longest_match_everywhere() -> None:
    text = (
        "def main():\n    print('你好，世界')  # 🙂\r\n\n\n"
        + "====" * 30
        + " The quick brown fox… Ünïcödé \x00\x85\u2028 "
        + "的" * 7
        + "aaaaaaaaaaaaaaaaa"
    )
    assert WORLD.encode(text) == greedy(text)
    assert [token for n in range(40) for token in WORLD.encode(text[:n])] == [token for n in range(40) for token in greedy(text[:n])]


@given(st.text())
def test_world_round_trip(text: str) -> None:
    tokens = WORLD.encode(text)
    assert b"".join(map(WORLD.token_bytes, tokens)).decode() == text == WORLD.decode(tokens)
    assert all(0 < token < 65530 for token in tokens)


@given(st.text())
def test_bytes_round_trip(text: str) -> None:
    tokenizer = tokenizer_for("bytes")
    assert tokenizer.encode(text) == list(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_that_are_no_text_decode_to_nothing() -> None:
    assert WORLD.decode([0, 33155, 65530, 65535, -1]) == "Hello"
    assert (WORLD.token_bytes(0), WORLD.token_bytes(1), WORLD.token_bytes(256)) == (b"", b"\x00", b"\xff")
    assert WORLD.vocab_limit == 65530
    assert tokenizer_for("bytes").token_bytes(256) == b""


@pytest.mark.parametrize("name", ["world", "bytes"])
def test_lone_surrogates_become_replacement_characters_and_pairs_are_joined(name: str) -> None:
    tokenizer = tokenizer_for(name)
    assert tokenizer.decode(tokenizer.encode("a\ud83db\ude00\ud83d\ude00")) == "a\ufffdb\ufffd😀"


def vocabulary(*lines: str, newline: str = "\n") -> bytes:
    return (newline.join([*BYTES, *lines]) + newline).encode()


def test_pack_keeps_ids_with_holes_and_odd_lines() -> None:
    lines = ("300 ' a b' 4", "301 'x\u2028y\u0085' 7", "302 b'\\xe4\\xbd' 2", '400 "it\'s" 4')
    for newline in ("\n", "\r\n"):
        tokens, ids, lengths = unpack(pack(vocabulary(*lines, newline=newline)))
        assert len(tokens) == 401
        assert tokens[0] == tokens[257] == tokens[399] == b""
        assert tokens[300:303] == [b" a b", "x\u2028y\u0085".encode(), b"\xe4\xbd"]
        assert (ids[b"it's"], ids[b"\n"], b"" in ids) == (400, 11, False)
        assert lengths == {b" a": b"\x04\x01", b"x\xe2": b"\x07\x01", b"\xe4\xbd": b"\x02\x01", b"it": b"\x04\x01"}


@pytest.mark.parametrize(
    "lines",
    [
        ["300 'ab' 3"],
        ["300 ab 2"],
        ["300 __import__('os') 2"],
        ["300 12 2"],
        ["1 'ab' 2"],
        ["300 'ab' 2", "301 'ab' 2"],
        ["300 '' 0"],
        ["99999999 'ab' 2"],
        ["-1 'ab' 2"],
        ["300 'a' 'b' 5"],
        ["300 'it's' 4"],
        ["300 b'\xe9' 2"],
        ["300 [] 2"],
        ["300 " + "(" * 3000 + " 2"],
        ["nonsense"],
    ],
)
def test_a_wrong_vocabulary_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"line 25[78]|twice"):
        pack(vocabulary(*lines))


def test_the_world_vocabulary_must_have_every_byte() -> None:
    with pytest.raises(ValueError, match="1 single bytes"):
        pack("\n".join(BYTES[:-1]).encode())


def test_a_damaged_blob_is_refused() -> None:
    blob = pack(vocabulary("300 'abc' 3"))
    for bad in (b"", b"version https://git-lfs", blob[:-5], blob[:100] + bytes([blob[100] ^ 1]) + blob[101:]):
        with pytest.raises(ValueError, match=r"vocabulary|add up"):
            unpack(bad)


@given(st.lists(st.one_of(st.binary(max_size=4), st.text(max_size=2).map(str.encode))), st.integers(1, 3))
def test_utf8_stream_equals_decoding_at_once(parts: list[bytes], step: int) -> None:
    stream, data = Utf8Stream(), b"".join(parts)
    assert "".join(map(stream.feed, parts)) + stream.finish() == data.decode("utf-8", "replace")
    steps = (data[at : at + step] for at in range(0, len(data), step))
    assert "".join(map(stream.feed, steps)) + stream.finish() == data.decode("utf-8", "replace")


def test_utf8_stream_never_shows_half_a_character() -> None:
    stream = Utf8Stream()
    assert [stream.feed(bytes([byte])) for byte in "é你🙂".encode()] == ["", "é", "", "", "你", "", "", "", "🙂"]
    assert (stream.feed("🙂".encode()[:3]), stream.finish(), stream.finish()) == ("", "\ufffd", "")


def test_the_chat_path_does_not_import_numpy() -> None:
    code = "import sys, py_rwkv.chat.completions; from py_rwkv.tokenizer import tokenizer_for; tokenizer_for('world').encode('hi')"
    subprocess.run([sys.executable, "-c", code + "; assert 'numpy' not in sys.modules"], check=True)
