from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfirst.backends.sampler import Sampler
from localfirst.conversation import Sampling
from localfirst.errors import EngineError

CHANCES = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
LOGITS = np.log(CHANCES).astype(np.float32)
DRAWS = 4000


def count(sampling: Sampling, logits: np.ndarray = LOGITS) -> Counter[int]:
    sampler = Sampler(sampling, [])
    return Counter(sampler.draw(logits) for _ in range(DRAWS))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(0), [1, 0, 0, 0, 0]),
        (Sampling(1.0, seed=1), CHANCES),
        (Sampling(1.0, top_k=2, seed=1), [2 / 3, 1 / 3, 0, 0, 0]),
        (Sampling(1.0, top_k=0, seed=1), CHANCES),
        (Sampling(1.0, top_k=99, seed=1), CHANCES),
        (Sampling(1.0, top_p=0.6, seed=1), [2 / 3, 1 / 3, 0, 0, 0]),
        (Sampling(1.0, top_p=1.0, seed=1), CHANCES),
        (Sampling(1.0, min_p=0.2, seed=1), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0, 0]),
        (Sampling(0.5, top_k=2, seed=1), [0.8, 0.2, 0, 0, 0]),
        (Sampling(2.0, top_p=0.6, seed=1), [2**0.5 / (2**0.5 + 1), 1 / (2**0.5 + 1), 0, 0, 0]),
    ],
    ids=[
        "greedy",
        "plain",
        "top-k",
        "top-k off",
        "top-k of all",
        "top-p",
        "top-p off",
        "min-p",
        "temperature",
        "order",
    ],
)
def test_tokens_are_drawn_with_the_chances_that_the_options_leave(sampling: Sampling, expected: list[float]) -> None:
    counts = count(sampling)
    assert [counts[token] / DRAWS for token in range(5)] == pytest.approx(list(expected), abs=0.03)
    assert {token for token in range(5) if expected[token] == 0} & set(counts) == set()


def test_a_penalty_makes_tokens_of_the_prompt_and_the_answer_less_likely() -> None:
    logits = np.array([2.0, 1.9, 1.8, -1.0], np.float32)
    sampler = Sampler(Sampling(0, repetition_penalty=1.5), [1])
    assert [sampler.draw(logits) for _ in range(3)] == [0, 2, 0]
    assert logits.tolist() == np.array([2.0, 1.9, 1.8, -1.0], np.float32).tolist()


def test_a_seed_repeats_and_no_seed_does_not() -> None:
    flat = np.zeros(1000, np.float32)

    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(Sampling(1.0, seed=seed), [])
        return [sampler.draw(flat) for _ in range(8)]

    assert draw(5) == draw(5)
    assert draw(-5) == draw(-5)
    assert draw(5) != draw(6)
    assert draw(None) != draw(None)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=40),
    st.floats(0.0, 3.0),
    st.one_of(st.none(), st.integers(0, 50)),
    st.one_of(st.none(), st.floats(0.0, 1.0)),
    st.one_of(st.none(), st.floats(0.0, 1.0)),
)
def test_whatever_the_options_a_token_is_drawn(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    sampler = Sampler(Sampling(temperature, top_k, top_p, min_p, seed=0), [])
    assert 0 <= sampler.draw(np.array(logits, np.float32)) < len(logits)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error(broken: float, temperature: float) -> None:
    with pytest.raises(EngineError):
        Sampler(Sampling(temperature), []).draw(np.array([0.0, broken], np.float32))


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([64, 1000, 4096]))
def test_top_k_draws_from_exactly_the_k_best(seed: int, top_k: int, vocabulary: int) -> None:
    logits = np.random.default_rng(seed).permutation(np.arange(vocabulary, dtype=np.float32) / vocabulary)
    sampler = Sampler(Sampling(1.0, top_k=top_k, seed=seed), [])
    best = set(np.argsort(logits)[-top_k:].tolist())
    assert {sampler.draw(logits) for _ in range(20)} <= best


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.999), st.sampled_from([3, 1000, 5000]), st.floats(0.1, 6.0))
def test_top_p_draws_from_the_fewest_tokens_that_have_its_share(
    seed: int, top_p: float, vocabulary: int, spread: float
) -> None:
    logits = (np.random.default_rng(seed).standard_normal(vocabulary) * spread).astype(np.float32)
    order = np.argsort(-logits)
    mass = np.exp(logits[order].astype(np.float64)).cumsum()
    allowed = set(order[: int((mass < (top_p + 1e-4) * mass[-1]).sum()) + 1].tolist())
    sampler = Sampler(Sampling(1.0, top_p=top_p, seed=seed), [])
    assert {sampler.draw(logits) for _ in range(20)} <= allowed


def test_the_likeliest_of_spread_logits_is_drawn_as_often_as_draw_does():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = Sampler(Sampling(temperature=1.0, top_k=3, seed=5), [])
    drawn = np.bincount([int(sampler.spread(logits).argmax()) for _ in range(4000)], minlength=4) / 4000
    assert np.allclose(drawn, np.array([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.03)


def test_what_the_options_leave_out_comes_last_but_comes():
    logits = np.array([5, 4, 3, 2], np.float32)
    spread = Sampler(Sampling(temperature=1.0, top_k=1, seed=5), []).spread(logits)
    assert int(spread.argmax()) == 0
    assert np.isfinite(spread).all()
    allowed = np.where([False, True, True, True], spread, -np.inf)
    assert int(allowed.argmax()) in {1, 2, 3}


def test_greedy_logits_are_spread_as_they_are():
    logits = np.array([1, 9, 3], np.float32)
    assert np.array_equal(Sampler(Sampling(temperature=0), []).spread(logits), logits)


def test_a_token_that_was_noted_is_penalized():
    logits = np.array([1, 9, 8], np.float32)
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=2.0), [])
    sampler.note(1)
    assert int(sampler.spread(logits).argmax()) == 2


def test_spread_logits_that_are_no_numbers_are_an_error():
    with pytest.raises(EngineError):
        Sampler(Sampling(), []).spread(np.array([np.nan, 1.0], np.float32))
