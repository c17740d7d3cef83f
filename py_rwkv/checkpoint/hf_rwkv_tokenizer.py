"""The RWKV World tokenizer for `transformers`: greedy longest match over UTF-8 bytes.

This file is not used by py_rwkv itself: it is copied into exported Hugging Face folders, where `AutoTokenizer.from_pretrained(folder, trust_remote_code=True)`
loads it. A token's text, which transformers wants to be a string, is its bytes read as Latin-1.
"""

import ast
import os
import shutil
from typing import Any

from transformers import PreTrainedTokenizer

VOCABULARY = "rwkv_vocab_v20230424.txt"
END = "<|rwkv_tokenizer_end_of_text|>"  # id 0, in no text


class RwkvWorldTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    vocab_files_names = {"vocab_file": VOCABULARY}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, **kwargs: Any) -> None:
        self.vocab_file = vocab_file
        self._texts: dict[int, str] = {0: END}
        self._lengths: dict[bytes, list[int]] = {}
        self._known: dict[bytes, int] = {}
        with open(vocab_file, "rb") as file:
            lines = file.read().split(b"\n")
        behind: dict[bytes, set[int]] = {}
        for line in filter(None, (raw.removesuffix(b"\r").decode("utf-8") for raw in lines)):
            index, literal = int(line[: line.index(" ")]), ast.literal_eval(line[line.index(" ") : line.rindex(" ")].strip())
            token = literal.encode("utf-8") if isinstance(literal, str) else literal
            self._known[token], self._texts[index] = index, token.decode("latin-1")
            behind.setdefault(token[:2], {1}).add(len(token))
        self._lengths = {start: sorted(lengths, reverse=True) for start, lengths in behind.items()}
        self._ids = {text: index for index, text in self._texts.items()}
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            kwargs.setdefault(name, END)
        kwargs.setdefault("clean_up_tokenization_spaces", False)
        super().__init__(**kwargs)

    @property
    def vocab_size(self) -> int:
        return max(self._texts) + 1

    def get_vocab(self) -> dict[str, int]:
        return dict(self._ids)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        data, at, tokens = text.encode("utf-8", "replace"), 0, []
        while at < len(data):
            length = next(n for n in self._lengths.get(data[at : at + 2], [1]) if data[at : at + n] in self._known)
            tokens.append(data[at : at + length].decode("latin-1"))
            at += length
        return tokens

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return self._texts.get(index, "")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return b"".join(token.encode("utf-8" if token == END else "latin-1") for token in tokens).decode("utf-8", "replace")

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        path = os.path.join(save_directory, (f"{filename_prefix}-" if filename_prefix else "") + VOCABULARY)
        if os.path.abspath(self.vocab_file) != os.path.abspath(path):
            shutil.copyfile(self.vocab_file, path)
        return (path,)
