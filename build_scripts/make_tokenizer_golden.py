"""Makes tests/golden/bpe.json: a small tokenizer of the 20B kind, and what Hugging Face's `tokenizers` makes of some texts with it.

pip install tokenizers==0.23.3
python build_scripts/make_tokenizer_golden.py
"""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

FILE = Path(__file__).parents[1] / "tests" / "golden" / "bpe.json"
LEARNT = (
    "The quick brown fox jumps over the lazy dog; it's what we've said, isn't it? They'll say I'd better not. "
    "def main():\n    for i in range(10):\n        print(i)\n\n\nreturn 1234567890 你好，世界。你好吗？我很好。 Ünïcödé ½ "
) * 3
TEXTS = [
    *("", " ", "\n", "  ", "   a", "a   b", "\n\n", "Hello world!", "it's we've I'LL they'll 'sx ' s", "don't  stop", "你好，世界"),
    *(
        "user_name __init__ _",
        "x\n \n  \n\ty",
        "é e\u0301 \u212b \u1100\u1161\u11a8 q\u0323\u0307",
        "½ Ⅷ ²³ 三 ٣ 1a2b",
        "a\x1cb\x1d \x1e\x1fc",
    ),
    *("\x00\x85\xa0\u2028\u3000\u200b", "<|endoftext|>", "a<|endoftext|> <|endoftext|>b <|end", "[ add] x [add]\u00e9[ADD]", "na\u0301me"),
    *("e\u0301tude etude \u00e9tude", "🙂🙂 👩\u200d👩\u200d👧 e", "\ufeffx \ufffd", "thethethe the" + "the" * 40, "l" * 300),
]
PARTS = [
    "the",
    " ",
    "  ",
    "'s",
    "'ll",
    "\n",
    "1",
    "é",
    "e\u0301",
    "你好",
    "。",
    "_",
    "½",
    "\x1d",
    "<|endoftext|>",
    "étude",
    "🙂",
    "!",
    "\u00a0",
    "\u3000",
]


def letters(dice: random.Random) -> str:
    """A character that Unicode has had for so long that everybody's tables agree about it."""
    while True:
        character = chr(dice.choice((dice.randrange(0x3000), dice.randrange(0x20000))))
        if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs", "Co"):
            return character


def main() -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    start = ["<|endoftext|>", "<|padding|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=start, initial_alphabet=alphabet, show_progress=False)  # type: ignore[call-arg]
    made.train_from_iterator([LEARNT], trainer)
    made.add_tokens([AddedToken(" " * n, normalized=True) for n in (6, 4, 2)])
    made.add_tokens([AddedToken("étude", normalized=True), AddedToken("[add]", normalized=False)])
    dice = random.Random(1)
    texts = TEXTS + [
        "".join(dice.choice(PARTS) if dice.random() < 0.5 else letters(dice) for _ in range(dice.randrange(40))) for _ in range(200)
    ]
    ids = [[dice.randrange(made.get_vocab_size() + 3) for _ in range(dice.randrange(1, 12))] for _ in range(100)]
    golden = {
        "tokenizer": json.loads(made.to_str()),
        "encoded": [[text, made.encode(text).ids] for text in texts],
        "decoded": [[row, made.decode(row)] for row in ids],
    }
    lines = [f' "encoded": [\n{rows(golden["encoded"])}\n ]', f' "decoded": [\n{rows(golden["decoded"])}\n ]']
    FILE.write_text("{\n" + f' "tokenizer": {json.dumps(golden["tokenizer"])},\n' + ",\n".join(lines) + "\n}\n", "utf-8")


def rows(pairs: list[list[object]]) -> str:
    return ",\n".join("  " + json.dumps(pair) for pair in pairs)


if __name__ == "__main__":
    main()
