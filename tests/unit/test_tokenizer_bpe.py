"""The 20B kind of tokenizer: equal to Hugging Face's `tokenizers`, and files that lie."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer import Utf8Stream, open_tokenizer
from py_rwkv.tokenizer.bpe import ID_BITS, merge
from py_rwkv.tokenizer.gpt2_words import words

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "bpe.json").read_text("utf-8"))
FILE: dict[str, Any] = GOLDEN["tokenizer"]
SMALL = open_tokenizer(json.dumps(FILE).encode())
PILE = Path(__file__).parents[3] / "shared" / "data" / "20B_tokenizer.json"


@pytest.mark.parametrize(("text", "tokens"), GOLDEN["encoded"], ids=range(len(GOLDEN["encoded"])))
def test_encodes_as_hugging_face_does(text: str, tokens: list[int]) -> None:
    assert SMALL.encode(text) == tokens
    assert SMALL.encode(text) == tokens  # from the cache of words


def test_decodes_as_hugging_face_does() -> None:
    for tokens, text in GOLDEN["decoded"]:
        stream = Utf8Stream()
        assert SMALL.decode(tokens) == text
        assert "".join(stream.feed(SMALL.token_bytes(t)) for t in tokens) + stream.finish() == text


def test_special_tokens_end_a_document_and_are_no_text() -> None:
    assert (SMALL.name, SMALL.stop_tokens, SMALL.vocab_limit) == ("bpe", (0,), 385)
    assert (SMALL.token_bytes(0), SMALL.token_bytes(-1), SMALL.token_bytes(385)) == (b"", b"", b"")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(words(text)) == text


def test_words_follow_the_pattern_where_pythons_classes_differ() -> None:
    assert words("Ⅷ½x ²_a") == ["Ⅷ½", "x", " ²", "_", "a"]
    assert words("a\x1c b\x85\x85c") == ["a", "\x1c", " b", "\x85", "\x85", "c"]
    assert words("it's  so'LL   ") == ["it", "'s", " ", " so", "'", "LL", "   "]


def test_lone_surrogates_become_replacement_characters() -> None:
    assert SMALL.decode(SMALL.encode("a\ud83db\ud83d\ude00")) == "a\ufffdb😀"


def greedy(ids: list[int], ranks: dict[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Merging the obvious way: look for the lowest rank, join its leftmost pair, begin again."""
    ids = list(ids)
    while found := min(((*ranks[pair], at) for at in range(len(ids) - 1) if (pair := (ids[at], ids[at + 1])) in ranks), default=None):
        ids[found[2] : found[2] + 2] = [found[1]]
    return ids


def test_merges_join_the_lowest_rank_first_and_the_leftmost_of_equals() -> None:
    dice = random.Random(0)
    for _ in range(60):
        spelled, ranks = {i: chr(97 + i) for i in range(3)}, {}
        for rank in range(1, 12):  # each joins two tokens that exist
            left, right = dice.choice(list(spelled)), dice.choice(list(spelled))
            if (left, right) not in ranks and spelled[left] + spelled[right] not in spelled.values():
                ranks[left, right] = (rank, len(spelled))
                spelled[len(spelled)] = spelled[left] + spelled[right]
        table = {a << ID_BITS | b: rank << ID_BITS | made for (a, b), (rank, made) in ranks.items()}
        for size in (1, 2, 5, 40):
            word = [dice.randrange(3) for _ in range(size)]
            assert merge(list(word), table) == greedy(word, ranks)


def test_a_long_word_is_no_quadratic_affair() -> None:
    assert SMALL.decode(SMALL.encode("世" * 30_000)) == "世" * 30_000


def changed(**parts: Any) -> bytes:
    """The golden file with other values; `model__vocab` reaches into `model`."""
    file = copy.deepcopy(FILE)
    for path, value in parts.items():
        *into, key = path.split("__")
        target = file
        for step in into:
            target = target[step]
        target[key] = value
    return json.dumps(file).encode()


def added(**fields: Any) -> list[dict[str, Any]]:
    return [*FILE["added_tokens"], {"id": 390, "content": "new", "special": False, "normalized": False, **fields}]


VOCAB = FILE["model"]["vocab"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"{", "not valid JSON"),
        (b'{"model": ' + b"[" * 100_000, "not valid JSON"),
        (b"{}", "pre_tokenizer is None; supported are ByteLevel"),
        (changed(normalizer={"type": "Lowercase"}), "normalizer is Lowercase; supported are None, NFC"),
        (changed(normalizer="NFC"), "normalizer"),
        (changed(pre_tokenizer={"type": "Whitespace"}), "pre_tokenizer is Whitespace"),
        (changed(pre_tokenizer__add_prefix_space=True), "add_prefix_space"),
        (changed(pre_tokenizer__use_regex=False), "use_regex"),
        (changed(post_processor={"type": "TemplateProcessing"}), "post_processor is TemplateProcessing"),
        (changed(decoder=None), "decoder is None"),
        (changed(model=[]), "model is not a table"),
        (changed(model__type="WordLevel"), "model is 'WordLevel'; BPE"),
        (changed(model__dropout=0.1), "dropout = 0.1"),
        (changed(model__vocab={}), "0 tokens"),
        (changed(model__vocab={**VOCAB, "new": -1}), "'new' has the id -1"),
        (changed(model__vocab={**VOCAB, "new": 1 << 20}), "'new' has the id 1048576"),
        (changed(model__vocab={**VOCAB, "new": True}), "'new' has the id True"),
        (changed(model__vocab={**VOCAB, "new": 5}), "the same id"),
        (changed(model__vocab={**VOCAB, "x" * 2000: 400}), "cannot be a token"),
        (changed(model__vocab={k: v for k, v in VOCAB.items() if k != "Ġ"}, model__merges=[]), "1 single bytes have no token"),
        (changed(model__merges={}), "merges is not a list"),
        (changed(model__merges=["a b c"]), "merge 1, 'a b c'"),
        (changed(model__merges=[["a", []]]), "merge 1"),
        (changed(model__merges=[7]), "merge 1, 7"),
        (changed(model__merges=["a nosuch"]), "does not join two tokens"),
        (changed(added_tokens=[7]), "added token is not a table"),
        (changed(added_tokens=added(content="")), "'' cannot be a token"),
        (changed(added_tokens=added(id=20)), "has the id of another token"),
        (changed(added_tokens=added(content="the", id=391)), "or two ids"),
        (changed(added_tokens=added(lstrip=True)), "'new' has lstrip"),
        (changed(added_tokens=added() * 5000), "at most 4096"),
    ],
)
def test_files_that_lie_or_want_more_are_refused_with_the_reason(file: bytes, reason: str) -> None:
    with pytest.raises(RwkvError) as e:
        open_tokenizer(file, "tokenizer.json")
    assert e.value.code == "bad-tokenizer" and reason in e.value.message


def test_a_file_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RwkvError, match=r"40000000 bytes long.*bad-tokenizer"):
        open_tokenizer(b"{" * 40_000_000)


def test_other_features_that_are_read() -> None:
    pairs = open_tokenizer(
        changed(model__merges=[pair.split(" ") if isinstance(pair, str) else " ".join(pair) for pair in FILE["model"]["merges"]])
    )
    assert all(pairs.encode(text) == tokens for text, tokens in GOLDEN["encoded"])
    whole = open_tokenizer(changed(model__merges=[], model__ignore_merges=True))
    assert whole.encode(" better") == [VOCAB["Ġbetter"]]
    assert whole.encode(" bet") == [VOCAB["Ġ"], VOCAB["b"], VOCAB["e"], VOCAB["t"]]
    assert open_tokenizer(changed(normalizer=None)).decode(SMALL.encode("e\u0301")) == "é"
    assert open_tokenizer(changed(normalizer=None)).encode("e\u0301") != SMALL.encode("e\u0301")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in paths(item, (*at, key)))]


SHORT = json.loads(changed(model__merges=FILE["model"]["merges"][:8]))
PATHS = paths(SHORT)[1:]
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=4
)


def usable_or_refused(data: bytes) -> None:
    try:
        tokenizer = open_tokenizer(data)
    except RwkvError as e:
        if e.code != "bad-tokenizer":
            raise
    else:
        tokens = tokenizer.encode("The é 你好  1<|endoftext|>")
        assert all(0 <= t < tokenizer.vocab_limit for t in tokens)
        tokenizer.decode(tokens)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JSON), min_size=1, max_size=3))
def test_any_value_anywhere_is_read_or_refused(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    file = copy.deepcopy(SHORT)
    for path, value in changes:
        target = file
        try:
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took that place away
    usable_or_refused(json.dumps(file).encode())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30), st.binary(max_size=6), st.integers(0, 8))
def test_mutated_bytes_are_read_or_refused(at: int, new: bytes, gone: int) -> None:
    data = json.dumps(SHORT).encode()
    at %= len(data)
    usable_or_refused(data[:at] + new + data[at + gone :])


@pytest.mark.skipif(not PILE.exists(), reason="needs ../shared; tests/golden/bpe.json is this project's own")
def test_the_published_20b_tokenizer() -> None:
    pile = open_tokenizer(PILE.read_bytes())
    assert (pile.vocab_limit, pile.stop_tokens) == (50277, (0,))
    vectors = {  # computed by Hugging Face's tokenizers
        "\n": [187],
        "\n\n": [535],
        "Hello world!": [12092, 1533, 2],
        "你好，世界": [24553, 34439, 6238, 42848, 45261],
        "def f(x):\n        return x**2  # ½ é e\u0301": [
            1545,
            269,
            9,
            89,
            2262,
            187,
            50270,
            2309,
            1269,
            424,
            19,
            50276,
            4,
            24142,
            3974,
            3974,
        ],
        "<|endoftext|>Bob: hi\n\nAlice:": [0, 26845, 27, 14260, 187, 187, 2422, 547, 27],
        "              x": [50264, 89],
    }
    assert {text: pile.encode(text) for text in vectors} == vectors
