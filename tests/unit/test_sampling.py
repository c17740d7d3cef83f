"""Sampling against the plain computation over a whole vocabulary, and the settings' bounds."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_rwkv.errors import RwkvError
from py_rwkv.runtime.sampling import Candidates, Sampler, Sampling, random_u32

V = 2000


def candidates(logits: np.ndarray, k: int = 256) -> Candidates:
    """What the device hands over."""
    logits = logits.astype(np.float32)
    ids = np.lexsort((np.arange(len(logits)), -logits))[:k]
    best = logits.max()
    total = float(best + np.log(np.exp(logits.astype(np.float64) - best).sum()))
    return Candidates(memoryview(array("I", ids.tolist())), memoryview(array("f", logits[ids].tolist())), total)


def pip_probabilities(logits: np.ndarray, counts: dict[int, float], s: Sampling) -> np.ndarray:
    """`PIPELINE.generate` and `sample_logits` of the `rwkv` package in f64, up to the draw."""
    logits = logits.astype(np.float64).copy()
    logits[list(s.ban)] = -np.inf
    for token, count in counts.items():
        logits[token] -= s.presence_penalty + count * s.frequency_penalty
    p = np.exp(logits - logits.max())
    p /= p.sum()
    order = np.lexsort((np.arange(len(p)), -p))
    reached = np.cumsum(p[order]) >= (0 if s.temperature == 0 else s.top_p)
    cutoff = p[order][np.argmax(reached)] if reached.any() else 0.0
    p[p < cutoff] = 0
    if s.top_k:
        p[order[s.top_k :]] = 0
    p = p ** (1 / (s.temperature or 1.0))
    return p / p.sum()


SETTINGS = [
    Sampling(temperature=1.0, top_p=0.85, presence_penalty=0.2, frequency_penalty=0.2),
    Sampling(temperature=0.6, top_p=0.8, presence_penalty=2.0, frequency_penalty=0.2, penalty_decay=0.99),
    Sampling(temperature=2.0, top_p=0.5, top_k=5, presence_penalty=0.0, frequency_penalty=0.0),
    Sampling(temperature=1.3, top_p=0.6, top_k=3, presence_penalty=-1.0, frequency_penalty=1.0, penalty_decay=0.5, ban=(3, 4, 5)),
    Sampling(temperature=1.0, top_p=0.7, frequency_penalty=0.0, penalty_decay=0.0, presence_penalty=5.0),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=range(len(SETTINGS)))
def test_it_chooses_what_the_plain_computation_allows_as_often(settings: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks a text of 60 tokens; at every step the cut points between tokens must be those of the plain computation: probed with equidistant random words."""
    rng = np.random.default_rng(5)
    base = rng.normal(0, 3, V)
    sampler, counts = Sampler(settings, V), {}
    word = [0]
    monkeypatch.setattr("py_rwkv.runtime.sampling.random_u32", lambda seed, counter: word[0])
    for _ in range(60):
        logits = base + rng.normal(0, 1, V)
        given = candidates(logits)
        known = {t: count for t, count in counts.items() if t in set(given.ids)}  # a penalty beyond the candidates changes nothing
        expected = pip_probabilities(logits.astype(np.float32), known, settings)
        ranked, total = sampler._penalise(list(given.ids), list(given.logits), given.logsumexp)
        drawn = np.zeros(V)
        for word[0] in range(1 << 23, 1 << 32, 1 << 24):  # 256 midpoints
            drawn[sampler._draw(ranked, total)] += 1 / 256
        np.testing.assert_allclose(drawn, expected, atol=1 / 256)
        word[0] = int(rng.integers(1 << 32))
        token, logprob = sampler.sample(given)
        assert expected[token] > 0
        assert math.isclose(logprob, logits.astype(np.float32)[token] - given.logsumexp, abs_tol=1e-5)
        counts = {t: count * settings.penalty_decay for t, count in counts.items()}
        counts[token] = counts.get(token, 0) + 1


def test_greedy_takes_the_best_and_the_lowest_id_of_equals() -> None:
    logits = np.zeros(V)
    logits[[700, 30, 31]] = 4
    sampler = Sampler(Sampling(temperature=0, presence_penalty=1, frequency_penalty=0), V)
    assert [sampler.sample(candidates(logits)).token for _ in range(4)] == [30, 31, 700, 30]


def test_top_p_keeps_equal_candidates() -> None:
    logits = np.full(V, -20.0)
    logits[[5, 6, 7, 8]] = 3
    seen = {Sampler(Sampling(top_p=0.1, seed=seed), V).sample(candidates(logits)).token for seed in range(60)}
    assert seen == {5, 6, 7, 8}


def test_top_p_one_keeps_all_and_top_p_zero_the_best() -> None:
    logits = np.linspace(1, 0, 300)
    assert len({Sampler(Sampling(top_p=1, seed=seed)).sample(candidates(logits)).token for seed in range(400)}) > 100
    assert {Sampler(Sampling(top_p=0, seed=seed)).sample(candidates(logits)).token for seed in range(50)} == {0}


def test_counts_decay_per_token_and_only_tokens_of_the_text_are_penalised() -> None:
    sampler = Sampler(Sampling(temperature=0, presence_penalty=0, frequency_penalty=0, penalty_decay=0.5))
    best = np.eye(V)
    for token in (7, 7, 9):
        sampler.sample(candidates(best[token]))
    assert [sampler.count(token) for token in (7, 9, 11)] == [0.75, 1.0, 0.0]


@pytest.mark.parametrize("penalty", [800.0, -800.0, 1e-9])
def test_a_certain_token_that_is_penalised_or_favoured_keeps_the_sum_right(penalty: float) -> None:
    """p = 1 - 1e-9: where subtracting it from the sum leaves only rounding."""
    logits = np.full(V, -20.0)
    logits[4] = 9.0
    sampler = Sampler(Sampling(temperature=1, presence_penalty=penalty, frequency_penalty=0, top_p=1), V)
    sampler.sample(candidates(logits))
    given = candidates(logits)
    _, total = sampler._penalise(list(given.ids), list(given.logits), given.logsumexp)
    changed = logits.copy()
    changed[4] -= penalty
    if penalty < 800:
        assert math.isclose(total, candidates(changed).logsumexp, rel_tol=1e-5)
    else:  # the tail beyond the candidates is lost in the rounding of the sum; the candidates are a lower bound
        assert math.log(255) - 20 <= total <= math.log(1e-6) + 9


def test_rows_without_a_token_banned_ones_and_padding_are_never_chosen() -> None:
    logits = np.zeros(V)
    logits[V - 6 :] = 50
    logits[3] = 40
    chosen = {Sampler(Sampling(seed=seed, ban=(3,), top_p=1), V - 6).sample(candidates(logits)).token for seed in range(50)}
    assert not chosen & {3, *range(V - 6, V)}
    padded = Candidates([2, 1, 0xFFFFFFFF, 0], [1.0, 0.5, -math.inf, -math.inf], 1.5)
    assert {Sampler(Sampling(seed=seed, top_p=1), 3).sample(padded).token for seed in range(50)} == {1, 2}


def test_nothing_to_choose_and_broken_logits_are_errors() -> None:
    with pytest.raises(RwkvError) as e:
        Sampler(Sampling(ban=(1,)), 2).sample(Candidates([1, 2], [1.0, 0.0], 1.3))
    assert e.value.code == "no-candidates"
    for total in (math.nan, math.inf):
        with pytest.raises(RwkvError) as e:
            Sampler(Sampling()).sample(Candidates([1], [math.nan], total))
        assert e.value.code == "not-a-number"


def test_a_row_of_the_device_is_parsed() -> None:
    raw = np.array([0, 3, 0, 0, 9, 4, 7, 0, 0, 0], np.uint32)
    raw[0], raw[7:] = np.float32([2.5]).view(np.uint32)[0], np.float32([1.5, 0.5, -1]).view(np.uint32)
    parsed = Candidates.parse(raw.tobytes())
    assert (list(parsed.ids), list(parsed.logits), parsed.logsumexp) == ([9, 4, 7], [1.5, 0.5, -1.0], 2.5)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    steps = [candidates(rng.normal(0, 1, V)) for _ in range(30)]

    def text(seed: int | None) -> tuple[list[int], int]:
        sampler = Sampler(Sampling(top_p=0.9, seed=seed))
        return [sampler.sample(step).token for step in steps], sampler.seed

    assert text(1) == text(1)
    assert text(1)[0] != text(2)[0]
    assert text(1)[0] != text(1 + (1 << 32))[0]
    again = text(None)
    assert text(again[1]) == again


def test_random_words_are_fixed_for_ever_and_even() -> None:
    """The values of pcg3d as a shader computes them: changing them changes everybody's texts."""

    def pcg3d(*v: int) -> int:
        with np.errstate(over="ignore"):
            x, y, z = np.array(v, np.uint32) * np.uint32(1664525) + np.uint32(1013904223)
            x += y * z
            y += z * x
            z += x * y
            x, y, z = x ^ (x >> np.uint32(16)), y ^ (y >> np.uint32(16)), z ^ (z >> np.uint32(16))
            return int(x + y * z)

    for seed, counter in ((0, 0), (1, 2), (-1, 3), (1 << 40, 1 << 20)):
        assert random_u32(seed, counter) == pcg3d(seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, counter)
    words = np.array([random_u32(42, i) for i in range(20000)], np.float64) / 2**32
    counts = np.histogram(words, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi², 19 degrees of freedom: p < 0.001
    assert abs(np.corrcoef(words[:-1], words[1:])[0, 1]) < 0.03


def test_settings_come_from_request_then_defaults() -> None:
    sampling = Sampling.from_request(
        {"temperature": 0.5, "top_p": 0.9, "stop": ["x"]}, {"temperature": 0, "top_p": None, "seed": 3.0, "ban": [0]}
    )
    assert sampling == Sampling(temperature=0.0, top_p=0.9, seed=3, ban=(0,))
    assert type(sampling.temperature) is float
    assert type(sampling.seed) is int


BAD: list[tuple[str, Any]] = [("temperature", v) for v in (True, "1", math.nan, -0.1, 10.5, math.inf, [1])]
BAD += [("top_p", 1.01), ("top_k", 2.5), ("top_k", -1), ("seed", 1 << 64), ("seed", 0.5), ("penalty_decay", 2), ("presence_penalty", -11)]
BAD += [("ban", v) for v in ("0", 0, [True], [-1], [65536], list(range(129)))]


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_a_bad_setting_says_which_what_and_how(name: str, value: Any) -> None:
    with pytest.raises(RwkvError) as e:
        Sampling.from_request({}, {name: value})
    assert e.value.code == "bad-setting"
    assert e.value.details["name"].startswith(name)
    assert e.value.details["expected"]
    assert len(e.value.details["found"]) <= 80


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    st.floats(0, 10),
    st.floats(0, 1),
    st.integers(0, 9),
    st.floats(-10, 10),
    st.integers(0, 99),
)
def test_any_setting_on_any_logits_chooses_a_candidate(
    logits: list[float], temperature: float, top_p: float, top_k: int, penalty: float, seed: int
) -> None:
    sampler = Sampler(Sampling(temperature, top_p, top_k, penalty, penalty, 1.0, seed), 40)
    for _ in range(5):
        assert 0 <= sampler.sample(candidates(np.array(logits))).token < len(logits)
