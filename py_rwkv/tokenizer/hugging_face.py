"""A Hugging Face `tokenizer.json` → tables for `bpe.py`. Byte-level BPE with GPT-2's words is read, other kinds are refused by name. No field is believed."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from py_rwkv.errors import RwkvError
from py_rwkv.tokenizer.bpe import ID_BITS, Bpe, Form, normal
from py_rwkv.tokenizer.gpt2_words import alphabet, spelled_bytes

MAX_ID = 1 << ID_BITS
MAX_ADDED = 1 << 12
MAX_TEXT = 1 << 10  # characters of a token
FORMS: dict[str, Form] = {"NFC": "NFC", "NFD": "NFD", "NFKC": "NFKC", "NFKD": "NFKD"}
ENDS = ("<|endoftext|>", "</s>", "<eos>")  # special tokens of this name end a document
NEVER = {0xC0, 0xC1, *range(0xF5, 0x100)}  # bytes that UTF-8 has not


def read_tokenizer_json(data: bytes, name: str = "tokenizer.json") -> Bpe:
    """RwkvError `bad-tokenizer`: what is wrong with the file, or which of its features is not supported."""
    return _Reader(name).tables(data)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name

    def wrong(self, reason: str) -> NoReturn:
        raise RwkvError("bad-tokenizer", name=self.name, reason=reason)

    def need(self, condition: bool, reason: str) -> None:
        if not condition:
            self.wrong(reason)

    def tables(self, data: bytes) -> Bpe:
        try:
            file = self.table(json.loads(data), "the file")
        except (ValueError, RecursionError) as e:
            self.wrong(f"it is not valid JSON ({str(e)[:80]})")
        form = self.pipeline(file)
        model = self.table(file.get("model"), "model")
        self.need(model.get("type", "BPE") == "BPE", f"its model is {_show(model.get('type'))}; BPE is supported")
        for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
            self.need(not model.get(key), f"its model has {key} = {_show(model.get(key))}, which is not supported")
        ids = self.vocabulary(model)
        added = [self.table(token, "an added token") for token in self.list(file.get("added_tokens", []), "added_tokens", MAX_ADDED)]
        special, verbatim, normalized = self.added(added, ids)
        tokens = [b""] * (1 + max([*ids.values(), *verbatim.values(), *normalized.values()]))
        for token, token_id in (*ids.items(), *verbatim.items(), *normalized.items()):
            tokens[token_id] = b"" if token_id in special else spelled_bytes(token)
        byte_ids = [ids.get(alphabet()[byte], -1) for byte in range(256)]
        lacking = sum(token < 0 and byte not in NEVER for byte, token in enumerate(byte_ids))
        self.need(not lacking, f"{lacking} single bytes have no token, so some text could not be encoded")
        return Bpe(
            tokens=tokens,
            byte_ids=byte_ids,
            merges=self.merges(model, ids),
            whole={spelled_bytes(token): token_id for token, token_id in ids.items()} if model.get("ignore_merges") is True else {},
            verbatim=verbatim,
            normalized={normal(form, token): token_id for token, token_id in normalized.items()},
            form=form,
            stop_tokens=tuple(sorted(token for token, content in special.items() if content in ENDS)),
        )

    def pipeline(self, file: dict[str, Any]) -> Form:
        """The Unicode form, when all stages are known ones."""
        stages = {key: _stage(file.get(key)) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
        known = {
            "normalizer": (None, *FORMS),
            "pre_tokenizer": ("ByteLevel",),
            "post_processor": (None, "ByteLevel"),
            "decoder": ("ByteLevel",),
        }
        for key, (kind, _) in stages.items():
            self.need(kind in known[key], f"its {key} is {kind}; supported are {', '.join(map(str, known[key]))}")
        words = stages["pre_tokenizer"][1]
        plain = words.get("add_prefix_space") is False and words.get("use_regex", True) is True
        self.need(plain, "its pre_tokenizer must have add_prefix_space = false and use_regex = true")
        return FORMS.get(str(stages["normalizer"][0]), "")

    def vocabulary(self, model: dict[str, Any]) -> dict[str, int]:
        ids = self.table(model.get("vocab"), "model.vocab")
        self.need(0 < len(ids) <= MAX_ID, f"model.vocab has {len(ids)} tokens")
        for token, token_id in ids.items():
            self.check(token, token_id)
        self.need(len(set(ids.values())) == len(ids), "two tokens of model.vocab have the same id")
        return ids

    def added(self, added: list[dict[str, Any]], ids: dict[str, int]) -> tuple[dict[int, str], dict[str, int], dict[str, int]]:
        """({id: content} of the special tokens, those matched in the text as written, those matched after normalization)."""
        special: dict[int, str] = {}
        verbatim: dict[str, int] = {}
        normalized: dict[str, int] = {}
        taken = {token_id: token for token, token_id in ids.items()}
        for token in added:
            content, token_id = token.get("content"), token.get("id")
            self.check(content, token_id)
            assert isinstance(content, str) and isinstance(token_id, int)
            fits = taken.setdefault(token_id, content) == content and ids.get(content, token_id) == token_id
            self.need(fits, f"the added token {_show(content)} has the id of another token, or two ids")
            for key in ("single_word", "lstrip", "rstrip"):
                self.need(token.get(key, False) is False, f"the added token {_show(content)} has {key}, which is not supported")
            is_special = token.get("special", False) is True
            if is_special:
                special[token_id] = content
            (normalized if token.get("normalized", not is_special) is True else verbatim)[content] = token_id
        return special, verbatim, normalized

    def merges(self, model: dict[str, Any], ids: dict[str, int]) -> dict[int, int]:
        ranks: dict[int, int] = {}
        for rank, entry in enumerate(self.list(model.get("merges"), "model.merges", MAX_ID), 1):
            pair = entry.split(" ") if isinstance(entry, str) else entry
            try:
                left, right = pair
                ranks[ids[left] << ID_BITS | ids[right]] = rank << ID_BITS | ids[left + right]
            except (TypeError, ValueError, KeyError):
                self.wrong(f"merge {rank}, {_show(entry)}, does not join two tokens to a third")
        return ranks

    def check(self, token: object, token_id: object) -> None:
        if not (isinstance(token, str) and 0 < len(token) <= MAX_TEXT):
            self.wrong(f"{_show(token)} cannot be a token")
        if not (type(token_id) is int and 0 <= token_id < MAX_ID):
            self.wrong(f"the token {_show(token)} has the id {_show(token_id)}")

    def table(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(f"{what} is not a table")
        return value

    def list(self, value: object, what: str, limit: int) -> list[Any]:
        if not isinstance(value, list) or len(value) > limit:
            self.wrong(f"{what} is not a list of at most {limit}")
        return value


def _stage(value: object) -> tuple[str | None, dict[str, Any]]:
    """(type, settings) of a stage; a stage that is no table has what it is as its type."""
    return (str(value.get("type"))[:40], value) if isinstance(value, dict) else (None if value is None else _show(value), {})


def _show(value: object) -> str:
    return repr(value)[:60].encode("utf-8", "replace").decode()
