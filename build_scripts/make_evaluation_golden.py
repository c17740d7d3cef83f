"""Makes tests/golden/evaluation.json: what RWKV-LM's LAMBADA check and a plain perplexity come to with the official `rwkv` package.

    pip install torch==2.13.0 rwkv==0.8.32 numpy
    PYTHONPATH=tests python build_scripts/make_evaluation_golden.py [rwkv7-demo.pth]

Two models: the random byte-level one of tests/golden/two_heads, and the demo (its f16 weights; without them its figures are left as they are).
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from golden.cases import CASES, HERE
from golden.random_model import make

FILE = HERE / "evaluation.json"
PLAIN = [
    "The cat sat on the mat and looked at the moon",
    "Rain fell all night, and in the morning the street was a river",
    "She counted the coins twice. There were exactly seven",
    'He said: "Nothing is ever lost, only put away"',
    "Der Zug nach Köln fährt heute später, um zwölf",
]
DIALOGUE = [
    "User: What is the capital of France?\n\nAssistant: The capital of France is Paris.",
    "User: What is the capital of Japan?\n\nAssistant: The capital of Japan is Tokyo.",
    "User: What is 3 plus 4?\n\nAssistant: 3 plus 4 is 7.",
    "User: What is the opposite of hot?\n\nAssistant: The opposite of hot is cold.",
    "User: Hello!\n\nAssistant: Hello! How can I help you today?",
    "User: What is the capital of France?\n\nAssistant: The capital of France is Lisbon.",
]


def scores(net: Any, passages: list[str], encode: Callable[[str], list[int]], start: list[int]) -> list[list[Any]]:
    """[Σ ln p(target), whether it is the greedy continuation] of each passage's last word, as in RWKV-LM."""
    import torch

    rows: list[list[Any]] = []
    for passage in passages:
        context, word = passage.rsplit(" ", 1)
        source, target = start + encode(context), encode(" " + word)
        logits, _ = net.forward(source + target, None, full_output=True)
        log_p = torch.log_softmax(logits[len(source) - 1 : -1].double(), dim=-1)
        found = [float(log_p[i, token]) for i, token in enumerate(target)]
        greedy = all(int(log_p[i].argmax()) == token for i, token in enumerate(target))
        rows.append([round(math.fsum(found), 6), greedy])
    return rows


def main() -> None:
    os.environ |= {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}
    import rwkv
    import torch
    from rwkv.model import RWKV
    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

    golden: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        weights = {name: torch.from_numpy(w) for name, w in make(CASES["two_heads"].shape).items()}
        torch.save(weights, Path(folder) / "model.pth")
        net = RWKV(model=str(Path(folder) / "model"), strategy="cpu fp32")
        rows = scores(net, PLAIN, lambda text: list(text.encode()), [])
        text = "\n".join(PLAIN)
        tokens = list(text.encode())
        log_p = torch.log_softmax(net.forward(tokens, None, full_output=True)[0].double(), dim=-1)
        total = math.fsum(float(log_p[i, token]) for i, token in enumerate(tokens[1:]))
        golden["two_heads"] = {"passages": PLAIN, "scores": rows, "text": text, "logprob": round(total, 6)}
    if len(sys.argv) > 1:
        net = RWKV(model=sys.argv[1].removesuffix(".pth"), strategy="cpu fp32")
        encode = TRIE_TOKENIZER(str(Path(rwkv.__file__).parent / "rwkv_vocab_v20230424.txt")).encode
        golden["demo"] = {"passages": DIALOGUE, "scores": scores(net, DIALOGUE, encode, [0])}
    FILE.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
