"""What scores of a text say of a model: how well it foretells it, and how far it is from another one. Pure.

Perplexity is e to the mean of what each token costs (its negative log-probability): between as many tokens the model is
undecided, so to say. Costs can only be compared where the text is cut into the same tokens.

The divergence of Kullback and Leibler (*Annals of Mathematical Statistics* 22, 1951) is what it costs to take one
model's chances for the other's: of all tokens that could come, not only of the one that came. Engines tell the chances
of the likeliest few. All others are counted as one, so what is found is at most the divergence of whole vocabularies,
never more; and it is nearly that where few chances are left to those others (`Comparison.told`).
"""

from __future__ import annotations

from math import exp, fsum, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

from localfirst.conversation import Scores
from localfirst.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localfirst.bench.values import Contender

LIKELIEST = 64
"""Tokens whose chances are asked for in each place."""
WINDOW_TOKENS = 512
"""Of which each is scored after those of the same window before it. llama-perplexity has windows of as many."""
LEAST_LOG = -100.0
"""What is less likely than e to this counts as this: engines write different things for a chance of 0."""
LEAST_CHANCE = 1e-6
"""As near as the chances of the others, all together, are known."""


class Mean(NamedTuple):
    """A mean over tokens."""

    value: float
    error: float | None
    """Its standard error, as if tokens were independent, which those of a text are not; `None` of a single one."""


class Quality(NamedTuple):
    """How well a model foretells a text."""

    tokens: int
    """Scored."""
    cost: Mean
    """Of a token, in nats: the mean negative log-probability."""

    @property
    def perplexity(self) -> Mean:
        """`e` to the cost, with the error that follows from the cost's."""
        value = exp(self.cost.value)
        return Mean(value, None if self.cost.error is None else value * self.cost.error)


class Comparison(NamedTuple):
    """How far a model is from its reference, over the same tokens."""

    excess: Mean
    """By how much a token costs more, in nats: the logarithm of the ratio of the perplexities. Its error is that of the
    differences, and much smaller than those of the two costs."""
    divergence: Mean | None
    """In nats, at least: see above. `None`: an engine does not tell what else could come."""
    same_best: Mean | None
    """Share of places, 0 to 1, where both find the same token likeliest."""
    told: float | None
    """Share of the reference's chances that the divergence tells apart, 0 to 1; at 1 it is exact."""


class Row(NamedTuple):
    """What was found of one build."""

    contender: Contender
    quality: Quality
    comparison: Comparison | None
    """`None`: there is no reference, or this is it."""
    is_reference: bool = False
    partial: bool = False
    """Whether it was stopped before the end of the text: all figures are of the tokens until there."""


class Report(NamedTuple):
    """One call of `lf bench --quality`, and all that was found."""

    at: str
    """When it was begun: UTC, ISO 8601."""
    machine: str
    """`measurements.find_key`'s."""
    machine_name: str
    """For people: processor, memory, devices."""
    system: str
    """Operating system and its version."""
    lf_version: str
    arguments: tuple[str, ...]
    text: str
    """Its name."""
    text_sha256: str
    """In hexadecimal, of the text in UTF-8: another text may have the same name."""
    whole: bool
    """Whether it was to be scored to its end: of a long one only the beginning is."""
    rows: tuple[Row, ...]
    failures: tuple[str, ...] = ()
    """What could not be measured, and why, in words for people."""
    complete: bool = True
    """False: it was interrupted, or a build failed."""


def cut(tokens: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """A text's tokens in windows, one after the other; a rest of one token has nothing to score."""
    for begin in range(0, len(tokens), WINDOW_TOKENS):
        if len(window := tuple(tokens[begin : begin + WINDOW_TOKENS])) > 1:
            yield window


def join(parts: Sequence[Scores]) -> Scores:
    """The scores of several windows as those of one text."""
    return Scores(
        tuple(score for part in parts for score in part.log_probs),
        tuple(place for part in parts for place in part.likeliest),
    )


def begin(scores: Scores, count: int) -> Scores:
    """The scores of the first tokens of a text."""
    return Scores(scores.log_probs[:count], scores.likeliest[:count])


def measure(scores: Scores) -> Quality:
    """How well the text was foretold.

    Raises:
        UsageError: nothing was scored.
    """
    if not scores.log_probs:
        raise UsageError("The text is too short: it has no token that comes after another")
    return Quality(len(scores.log_probs), _average([-_floor(score) for score in scores.log_probs]))


def compare(scores: Scores, reference: Scores, text: Sequence[int]) -> Comparison:
    """How far scores are from those of a reference.

    Args:
        scores: the model's.
        reference: the other one's, of the same tokens.
        text: those tokens, each of which both know the chance of.

    Raises:
        UsageError: they are not of as many tokens.
    """
    if not len(scores.log_probs) == len(reference.log_probs) == len(text):
        counts = f"{len(scores.log_probs)}, {len(reference.log_probs)} and {len(text)}"
        raise UsageError("Scores of different texts have nothing to be compared", detail=f"tokens: {counts}")
    excess = _average(
        [_floor(theirs) - _floor(ours) for ours, theirs in zip(scores.log_probs, reference.log_probs, strict=True)]
    )
    if not scores.likeliest or not reference.likeliest:
        return Comparison(excess, None, None, None)
    places = [
        _compare_place(dict(ours) | {token: mine}, dict(theirs) | {token: other})
        for ours, theirs, token, mine, other in zip(
            scores.likeliest, reference.likeliest, text, scores.log_probs, reference.log_probs, strict=True
        )
    ]
    same = [ours[0][0] == theirs[0][0] for ours, theirs in zip(scores.likeliest, reference.likeliest, strict=True)]
    return Comparison(
        excess,
        _average([divergence for divergence, _ in places]),
        _average([float(one) for one in same]),
        fsum(told for _, told in places) / len(places),
    )


def check_same_tokens(name: str, tokens: Sequence[int], reference_name: str, reference: Sequence[int]) -> None:
    """Refuse what cannot be compared token by token.

    Raises:
        UsageError: the two cut the text into different tokens.
    """
    if tuple(tokens) == tuple(reference):
        return
    pairs = zip(tokens, reference, strict=False)
    place = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(tokens), len(reference)))
    raise UsageError(
        f"`{name}` and `{reference_name}` cut the text into different tokens",
        detail=f"{len(tokens)} and {len(reference)} of them, the first {place} alike",
        hint="Compare builds of one model: `--reference` names another build of it",
    )


def _compare_place(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[float, float]:
    """The divergence in one place, and the reference's chances of what both told of, all together."""
    known = ours.keys() & theirs.keys()
    chances = {token: exp(theirs[token]) for token in known}
    told = min(1.0, fsum(chances.values()))
    left = max(0.0, 1 - fsum(exp(ours[token]) for token in known))
    parts = [chance * (_floor(theirs[token]) - _floor(ours[token])) for token, chance in chances.items()]
    rest = 1 - told
    if rest > LEAST_CHANCE:
        parts.append(rest * log(rest / max(left, LEAST_CHANCE)))
    return max(0.0, fsum(parts)), told


def _floor(score: float) -> float:
    return max(score, LEAST_LOG)


def _average(values: Sequence[float]) -> Mean:
    count = len(values)
    mean = fsum(values) / count
    if count == 1:
        return Mean(mean, None)
    return Mean(mean, sqrt(fsum((value - mean) ** 2 for value in values) / (count - 1) / count))
