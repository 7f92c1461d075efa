"""Perplexity and divergence, against what numpy computes of whole distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localfirst.bench import quality
from localfirst.conversation import Scores
from localfirst.errors import UsageError

VOCABULARY, PLACES = 24, 12


def draw(seed: int, spread: float = 2.0) -> np.ndarray:
    """Log-probabilities of every token in every place."""
    logits = np.random.default_rng(seed).standard_normal((PLACES, VOCABULARY)) * spread
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def tell(rows: np.ndarray, text: list[int], count: int) -> Scores:
    """What an engine would tell of them."""
    order = np.argsort(-rows, axis=1)[:, :count]
    likeliest = tuple(
        tuple((int(token), float(row[token])) for token in best) for row, best in zip(rows, order, strict=True)
    )
    return Scores(tuple(float(row[token]) for row, token in zip(rows, text, strict=True)), likeliest if count else ())


def diverge(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())


seeds = st.integers(0, 2**16)
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=PLACES, max_size=PLACES)


def test_a_model_that_knows_nothing_is_undecided_between_all_tokens() -> None:
    found = quality.measure(Scores((float(-np.log(4096)),) * 10))
    assert found.perplexity == pytest.approx((4096, 0), rel=1e-9, abs=1e-6)
    assert found.tokens == 10


def test_the_error_is_that_of_the_mean() -> None:
    costs = [0.5, 1.0, 1.5, 4.0]
    found = quality.measure(Scores(tuple(-cost for cost in costs)))
    assert found.cost == pytest.approx((np.mean(costs), np.std(costs, ddof=1) / 2))
    assert found.perplexity == pytest.approx((np.exp(1.75), np.exp(1.75) * np.std(costs, ddof=1) / 2))
    assert quality.measure(Scores((-1.0,))).cost == (1.0, None)


def test_of_nothing_there_is_no_perplexity() -> None:
    with pytest.raises(UsageError, match="too short"):
        quality.measure(Scores(()))


@pytest.mark.parametrize("never", [float("-inf"), -3.4e38])
def test_a_token_that_can_never_come_costs_much_and_not_all(never: float) -> None:
    assert quality.measure(Scores((never, -1.0))).cost.value == pytest.approx(50.5)
    same = ((0, -0.1), (1, never))
    found = quality.compare(Scores((never,), (same,)), Scores((-0.1,), (((1, -0.1),),)), [1])
    assert found.divergence is not None
    assert 80 < found.divergence.value < 101


@given(seeds, seeds, texts)
def test_told_of_all_tokens_the_divergence_is_exact(one: int, other: int, text: list[int]) -> None:
    ours, theirs = draw(one), draw(other)
    found = quality.compare(tell(ours, text, VOCABULARY), tell(theirs, text, VOCABULARY), text)
    assert found.divergence is not None
    assert found.divergence.value == pytest.approx(diverge(ours, theirs), rel=1e-3, abs=1e-5)
    assert found.told == pytest.approx(1)
    assert found.same_best is not None
    assert found.same_best.value == (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()
    places = np.arange(PLACES)
    assert found.excess.value == pytest.approx((theirs[places, text] - ours[places, text]).mean())


@settings(max_examples=300)
@given(seeds, seeds, texts, st.integers(1, VOCABULARY - 1), st.sampled_from([0.3, 2.0, 6.0]))
def test_told_of_a_few_it_is_never_more_and_never_below_zero(
    one: int, other: int, text: list[int], count: int, spread: float
) -> None:
    ours, theirs = draw(one, spread), draw(other, spread)
    found = quality.compare(tell(ours, text, count), tell(theirs, text, count), text)
    assert found.divergence is not None
    assert 0 <= found.divergence.value <= diverge(ours, theirs) + 1e-5
    assert found.told is not None
    assert 0 < found.told <= 1


@given(seeds, texts, st.integers(0, VOCABULARY))
def test_a_model_is_no_distance_from_itself(seed: int, text: list[int], count: int) -> None:
    scores = tell(draw(seed), text, count)
    found = quality.compare(scores, scores, text)
    assert found.excess == (0, 0)
    if count:
        assert found.divergence is not None
        assert found.divergence.value < 1e-9
        assert found.same_best == (1, 0)
    else:
        assert (found.divergence, found.same_best, found.told) == (None, None, None)


def test_which_of_the_two_is_the_reference_counts() -> None:
    text = [0] * PLACES
    ours, theirs = draw(1, 0.5), draw(2, 4)
    one = quality.compare(tell(ours, text, VOCABULARY), tell(theirs, text, VOCABULARY), text).divergence
    other = quality.compare(tell(theirs, text, VOCABULARY), tell(ours, text, VOCABULARY), text).divergence
    assert one is not None
    assert other is not None
    assert one.value == pytest.approx(diverge(ours, theirs), rel=1e-3)
    assert abs(one.value - other.value) > 0.1


def test_scores_of_different_texts_are_not_compared() -> None:
    with pytest.raises(UsageError, match="different texts"):
        quality.compare(Scores((-1.0,)), Scores((-1.0, -2.0)), [1, 2])


@given(st.lists(st.integers(0, 9), max_size=3 * quality.WINDOW_TOKENS))
def test_windows_are_the_text_but_for_a_rest_of_one(tokens: list[int]) -> None:
    windows = list(quality.cut(tokens))
    assert all(2 <= len(window) <= quality.WINDOW_TOKENS for window in windows)
    whole = [token for window in windows for token in window]
    assert whole in (tokens, tokens[:-1])
    assert len(tokens) - len(whole) == (len(tokens) % quality.WINDOW_TOKENS == 1)


def test_windows_join_in_their_order() -> None:
    parts = [Scores((-1.0,), (((1, -1.0),),)), Scores((-2.0, -3.0), (((2, -2.0),), ((3, -3.0),)))]
    assert quality.join(parts) == Scores((-1.0, -2.0, -3.0), (((1, -1.0),), ((2, -2.0),), ((3, -3.0),)))


@pytest.mark.parametrize(("tokens", "count"), [((1, 2, 4), 3), ((1, 2), 2)])
def test_models_that_cut_the_text_differently_are_refused_by_name(tokens: tuple[int, ...], count: int) -> None:
    with pytest.raises(UsageError, match=r"`ours` and `theirs` cut the text into different tokens") as caught:
        quality.check_same_tokens("ours", tokens, "theirs", (1, 2, 3))
    assert caught.value.detail == f"{count} and 3 of them, the first 2 alike"
    quality.check_same_tokens("ours", (1, 2, 3), "theirs", [1, 2, 3])


def test_tokens_that_nobody_tells_of_count_as_one() -> None:
    """Half of each distribution is told: the reference's 0.5 against ours of 0.25, whose rests are 0.5 and 0.75."""
    ours, theirs = (Scores((np.log(chance),), (((3, np.log(chance)),),)) for chance in (0.25, 0.5))
    found = quality.compare(ours, theirs, [3])
    assert found.divergence.value == pytest.approx(0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75))
    assert found.told == pytest.approx(0.5)
