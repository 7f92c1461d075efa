"""Drawing on MLX's side means what it means in `sampler`: the same candidates, with the same chances."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from localfirst.backends.mlx.sampler import NOT_A_NUMBER, DeviceSampler
from localfirst.backends.sampler import Sampler
from localfirst.conversation import Sampling

mx = pytest.importorskip("mlx.core")

LOGITS = np.random.default_rng(3).normal(scale=2, size=40).astype(np.float32)
DRAWS = 2000


def draw(sampling: Sampling, prompt: list[int], logits: np.ndarray = LOGITS, count: int = 1) -> list[int]:
    sampler = DeviceSampler(sampling, prompt)
    return [int(sampler.draw(mx.array(logits)).item()) for _ in range(count)]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, seed=1),
        Sampling(0.6, seed=2),
        Sampling(1.0, top_k=5, seed=3),
        Sampling(1.0, top_p=0.6, seed=4),
        Sampling(1.0, min_p=0.2, seed=5),
        Sampling(0.8, top_k=12, top_p=0.8, min_p=0.05, seed=6),
        Sampling(1.7, top_k=400, top_p=1.0, min_p=0.0, seed=7),
    ],
    ids=["plain", "cold", "top_k", "top_p", "min_p", "all", "all off"],
)
def test_candidates_and_chances_are_those_of_the_other_sampler(sampling: Sampling) -> None:
    other = Sampler(sampling, [])
    theirs = Counter(other.draw(LOGITS) for _ in range(DRAWS))
    ours = Counter(draw(sampling, [], count=DRAWS))
    for token in theirs | ours:
        spread = 5 * (max(theirs[token], ours[token], 1) ** 0.5)
        assert abs(theirs[token] - ours[token]) < spread


@pytest.mark.parametrize("penalty", [0.5, 1.3, 5.0])
@pytest.mark.parametrize("length", [0, 3, 200])
def test_a_repetition_penalty_draws_the_same_tokens_greedily(penalty: float, length: int) -> None:
    prompt = [int(token) for token in np.random.default_rng(length).integers(0, 40, length)]
    sampling = Sampling(0, repetition_penalty=penalty)
    other = Sampler(sampling, prompt)
    assert draw(sampling, prompt, count=100) == [other.draw(LOGITS) for _ in range(100)]


@pytest.mark.parametrize("length", [0, 3, 200])
@pytest.mark.parametrize(
    "options",
    [
        {"presence_penalty": 1.5},
        {"frequency_penalty": 0.75},
        {"frequency_penalty": -0.5, "presence_penalty": 2.0, "repetition_penalty": 1.2},
        {"logit_bias": ((3, 2.0), (0, -1e4)), "frequency_penalty": 0.25},
    ],
    ids=" ".join,
)
def test_penalties_and_biases_draw_the_same_tokens_greedily(options: dict, length: int) -> None:
    prompt = [int(token) for token in np.random.default_rng(length).integers(0, 40, length)]
    sampling = Sampling(0, **options)
    other = Sampler(sampling, prompt)
    assert draw(sampling, prompt, count=100) == [other.draw(LOGITS) for _ in range(100)]


def test_a_seed_is_repeated_and_another_is_not() -> None:
    first, again, other, long = (draw(Sampling(2.0, seed=seed), [], count=30) for seed in (7, 7, 8, 2**63))
    assert first == again
    assert len({tuple(first), tuple(other), tuple(long)}) == 3


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(1.0, top_k=5, top_p=0.5, min_p=0.1, seed=1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_told(sampling: Sampling, bad: float) -> None:
    logits = LOGITS.copy()
    logits[7] = bad
    assert draw(sampling, [1, 2], logits) == [NOT_A_NUMBER]
    logits[7] = -np.inf  # a token that a model forbids is none of these
    assert draw(sampling, [1, 2], logits) != [NOT_A_NUMBER]
