"""Our quantized formats and web-rwkv's beside f32: error of the weights, KL(f32 ‖ quantized) of the predictions, perplexity. The tables of docs/quantization.md.

    PYTHONPATH=.:tests python build_scripts/measure_quantization.py rwkv7-demo.pth     # the demo model, on dialogues it was not trained on
    PYTHONPATH=.:tests python build_scripts/measure_quantization.py random             # a random RWKV-7 with heavy-tailed weights, on text it wrote itself
    PYTHONPATH=.:tests python build_scripts/measure_quantization.py weights            # other formats of that size, on random numbers

The first table quantizes what web-rwkv quantizes (the projections of the layers) in every format; KL and perplexity are means over four alignments of the
columns to the blocks (± the standard error), because the luck of rounding moves a single KL by a fifth. The second quantizes everything, as `convert` does.
OPENBLAS_NUM_THREADS=1 makes it quicker.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Callable, Iterator

import numpy as np
import web_rwkv_formats
from golden.random_model import Shape, make
from models import engine_of
from quantized_models import (
    Weights,
    divergence,
    f16,
    heavy_tailed,
    layer_matrices,
    log_probs,
    log_softmax,
    ours,
    perplexity,
    relative_rmse,
    through,
)

from py_rwkv.checkpoint.convert import open_weights
from py_rwkv.devices.numpy_device import NumpyDevice
from py_rwkv.quant.blocks import code_of, scale_of

FORMATS = {
    "int8, web-rwkv": (8.25, web_rwkv_formats.int8),
    "int8": (8.25, ours("int8")),
    "nf4, web-rwkv": (4.25, web_rwkv_formats.nf4),
    "nf4": (4.25, ours("nf4")),
    "int4": (4.5, ours("int4")),
}
SHIFTS = (0, 40, 80, 120)  # of columns: evenly spread modulo 32, 64 and 128
STRATEGIES = ("f16", "int8", "int4", "nf4", "nf4, emb=int8, head=int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="PTH|random|weights")
    parser.add_argument("--tokens", type=int, default=3000, help="length of the text; default 3000")
    parser.add_argument("--tails", type=float, default=4, metavar="DF", help="degrees of freedom of the random weights; default 4")
    args = parser.parse_args()
    if args.model == "weights":
        return compare_formats()
    if args.model == "random":
        weights = random_model(args.tails)
        texts = asyncio.run(written(weights, args.tokens))
    else:
        weights, texts = known_tokens(demo_model(args.model), list(dialogues(args.tokens)))
    asyncio.run(compare(weights, texts))


async def compare(weights: Weights, texts: list[list[int]]) -> None:
    base = await log_probs(weights, texts)
    names = layer_matrices(weights)
    print(f"{sum(map(len, texts))} tokens; f32: perplexity {perplexity(base, texts):.4f}\n")
    print("| projections in | bits | weight error | KL | perplexity |\n|---|---|---|---|---|")
    for name, (bits, format_) in FORMATS.items():
        kl, lost = [], []
        for shift in SHIFTS:
            found = await log_probs(through(weights, shifted(format_, shift)), texts)
            kl.append(divergence(base, found))
            lost.append(math.log(perplexity(found, texts)))
        error = relative_rmse(weights, through(weights, format_), names)
        print(
            f"| {name} | {bits} | {error:.3%} | {np.mean(kl):.3g} ± {np.std(kl, ddof=1) / len(kl) ** 0.5:.1g} | {math.exp(np.mean(lost)):.4f} |",
            flush=True,
        )
    print("\n| everything in | KL | perplexity |\n|---|---|---|")
    for strategy in STRATEGIES:
        found = await log_probs(weights, texts, strategy)
        print(f"| {strategy} | {divergence(base, found):.3g} | {perplexity(found, texts):.4f} |", flush=True)


def shifted(format_: Callable[[np.ndarray], np.ndarray], columns: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda w: np.roll(format_(np.roll(w, columns, 1)), -columns, 1)


def known_tokens(weights: Weights, texts: list[list[int]]) -> tuple[Weights, list[list[int]]]:
    """The model with a vocabulary of those tokens that it knows: the rows of all others in its embedding are one and the same."""
    first = np.unique(weights["emb.weight"], axis=0, return_index=True)[1]
    known = np.unique([*first, *(t for text in texts for t in text)])
    place = {int(t): i for i, t in enumerate(known)}
    cut = {name: weights[name][known] for name in ("emb.weight", "head.weight")}
    return {**weights, **cut}, [[place[t] for t in text] for text in texts]


def demo_model(path: str) -> Weights:
    checkpoint = open_weights(path)
    return {name: checkpoint.f32(name) for name in checkpoint.tensors}


def dialogues(tokens: int) -> Iterator[list[int]]:
    """Dialogues of a seed that training does not reach."""
    from build_scripts.demo_model.dialogues import dialogue, text
    from build_scripts.demo_model.questions import Dice
    from py_rwkv.tokenizer import WorldTokenizer

    dice, world = Dice(987654321), WorldTokenizer.load()
    while tokens > 0:
        ids = [0, *world.encode(text(dialogue(dice)))]
        yield ids
        tokens -= len(ids)


def random_model(degrees: float) -> Weights:
    """3 layers × 256, vocabulary 1000, everything exact in f16, matrices with Student's t."""
    shape = Shape(layers=3, heads=4, ranks=(32, 32, 32, 64), vocab=1000, seed=1)
    return {name: f16(w) for name, w in heavy_tailed(make(shape), degrees).items()}


async def written(weights: Weights, tokens: int) -> list[list[int]]:
    """Text that the model draws from its own predictions, in passages of 60 tokens: its perplexity is the least any model can have."""
    engine = await engine_of(weights, NumpyDevice(), "f32", slots=1)
    rng, texts = np.random.default_rng(5), []
    for _ in range(-(-tokens // 60)):
        session, text = engine.session(), [0]
        while len(text) < 60:
            p = np.exp(log_softmax(np.frombuffer(await session.feed(text[-1:]), "f4").astype("f8")))
            text.append(int(rng.choice(len(p), p=p / p.sum())))
        session.close()
        texts.append(text)
    engine.close()
    return texts


def compare_formats() -> None:
    """Relative errors in percent of formats with searched scales, by the distribution of the weights."""
    rng = np.random.default_rng(0)
    draws = {"normal": rng.standard_normal, "Laplace": lambda s: rng.laplace(size=s)}
    draws |= {f"t {df}": (lambda s, df=df: rng.standard_t(df, s)) for df in (10, 4, 3)}
    samples = {name: f16(0.05 * draw((256, 1024))) for name, draw in draws.items()}
    formats: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
        "8 bits, symmetric, 64, f16 scale": (8.25, lambda w: scaled(w, 64, half, -127, 127)),
        "8 bits, symmetric, 32, 8-bit scale = int8": (8.25, ours("int8")),
        "int8, web-rwkv": (8.25, web_rwkv_formats.int8),
        "4 bits, symmetric, 64, f16 scale": (4.25, lambda w: scaled(w, 64, half, -8, 7)),
        "4 bits, symmetric, 32, 8-bit scale": (4.25, lambda w: scaled(w, 32, coarse, -8, 7)),
        "4 bits, symmetric, 32, f16 scale": (4.5, lambda w: scaled(w, 32, half, -8, 7)),
        "4 bits, affine, 64, 8-bit scale and zero": (4.25, lambda w: affine(w, 64, 1 / 16)),
        "4 bits, affine, 32, 8-bit scale, whole zero": (4.5, lambda w: affine(w, 32, 1)),
        "4 bits, affine, 32, 8-bit scale and zero = int4": (4.5, ours("int4")),
        "nf4, 32, 8-bit scale = nf4": (4.25, ours("nf4")),
        "nf4, web-rwkv": (4.25, web_rwkv_formats.nf4),
    }
    print(f"| format | bits | {' | '.join(samples)} |\n|{'---|' * (len(samples) + 2)}")
    for name, (bits, format_) in formats.items():
        errors = [relative_rmse({"": w}, {"": format_(w)}, [""]) for w in samples.values()]
        print(f"| {name} | {bits} | {' | '.join(f'{100 * e:.3g}' for e in errors)} |", flush=True)


def half(scale: np.ndarray) -> np.ndarray:
    return f16(scale)


def coarse(scale: np.ndarray) -> np.ndarray:
    return scale_of(code_of(scale.astype("f4")))


def scaled(w: np.ndarray, size: int, kept: Callable[[np.ndarray], np.ndarray], low: int, high: int) -> np.ndarray:
    """q · scale, q from low to high, the scale searched."""
    x = w.reshape(-1, size)
    largest, step = np.abs(x).max(1, keepdims=True) / -low, 0.01 if high > 100 else 0.05
    tries = (kept(largest * np.float32(f)) for f in np.arange(1 - 8 * step, 1 + 5 * step, step))
    return best(x, tries, lambda s: np.clip(np.rint(x / s), low, high) * s).reshape(w.shape)


def affine(w: np.ndarray, size: int, unit: float) -> np.ndarray:
    """(q − zero) · scale with zeros in multiples of `unit`."""
    x = w.reshape(-1, size)
    low, high = np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)
    tries: list[tuple[np.ndarray, np.ndarray]] = []
    for factor in np.arange(0.6, 1.2, 0.05):
        s = coarse((high - low) / np.float32(15 / factor))
        zero = 7.5 - (low + high) / 2 / s
        for _ in range(3):
            zero = np.clip(np.rint(zero / unit) * unit, 0, 15)
            tries.append((s, zero))
            zero = (np.clip(np.rint(x / s + zero), 0, 15) - x / s).mean(1, keepdims=True)
    return best(x, tries, lambda t: (np.clip(np.rint(x / t[0] + t[1]), 0, 15) - t[1]) * t[0]).reshape(w.shape)


def best(x: np.ndarray, tries: object, decoded: Callable[..., np.ndarray]) -> np.ndarray:
    """For each row, of all tries what is nearest to x."""
    out, least = np.zeros_like(x), np.full((len(x), 1), np.inf)
    for t in tries:  # type: ignore[attr-defined]
        y = decoded(t)
        e = np.square(y - x).sum(1, keepdims=True)
        out, least = np.where(e < least, y, out), np.minimum(e, least)
    return out


if __name__ == "__main__":
    main()
