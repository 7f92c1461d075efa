"""Two benches against each other: only what is alike, by a ratio with its confidence interval, and a verdict.

A figure's ratio is that of its geometric means, with Welch's interval on the logarithms: repetitions of one bench vary
more than another's (Welch takes no equal variances), and a rate and its reciprocal must come to the same verdict
(logarithms do; means do not). Sources: B. L. Welch, "The generalization of 'Student's' problem when several different
population variances are involved", Biometrika 34 (1947); P. J. Fleming and J. J. Wallace, "How not to lie with
statistics: the correct way to summarize benchmark results", CACM 29 (1986).

What the interval does not know is what differs from one start of a process to the next, only from one repetition to
the next. So a change must also be larger than `SMALLEST` to be called one.
"""

from __future__ import annotations

from math import exp, fsum, inf, log, sqrt
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from localfirst.bench.statistics import find_rate
from localfirst.bench.values import THROUGH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from localfirst.bench.values import Bench, Sample, Series, Workload

Verdict = Literal["faster", "slower", "within noise", "unknown"]
"""`unknown`: of a single repetition nobody knows how far another one would lie."""
SMALLEST = 0.01
CONFIDENCE = 0.95
ALIKE = 0.05
"""By how much the texts of a scenario may be longer or shorter than those of the same one before."""
_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t that 97.5 % lie below, of 1 to 30 degrees of freedom: with as much below minus it, 95 % lie between.

Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
"""
_WORK = ("model", "variant", "quantization", "context_tokens", "threads", "cache", "batch_tokens")
_AROUND = ("runtime", "engine_version", "build", "device", "placement", "driver")
NAMES = {
    "context_tokens": "context",
    "batch_tokens": "batch",
    "cache": "cache type",
    "digest": "files",
    "engine_version": "engine version",
    "lf_version": "lf version",
}
"""What is called otherwise than its field, to people."""


class Figure(NamedTuple):
    """Something that samples say."""

    name: str
    unit: str
    larger_is_better: bool
    applies: Callable[[Workload], object]
    read: Callable[[Workload, Sample], float | None]


FIGURES = (
    Figure("reading", "tok/s", True, lambda work: work.prompt_tokens, lambda _, sample: sample.prefill_tps),
    Figure("generating", "tok/s", True, lambda work: work.generated_tokens, lambda _, sample: sample.decode_tps),
    Figure(
        "both", "tok/s", True,
        lambda work: work.prompt_tokens and work.generated_tokens and not work.scenario,
        find_rate,
    ),
    Figure(
        "first token", "s", False,
        lambda work: work.prompt_tokens,
        lambda _, sample: median(sample.first_token_s) if sample.first_token_s else None,
    ),
)  # fmt: skip
"""All that is compared. Peaks of memory are not: there is one of them, whose noise nobody knows."""


class Change(NamedTuple):
    """How a figure changed."""

    figure: Figure
    before: float
    """Geometric mean of the repetitions."""
    after: float
    low: float | None
    """Of the ratio after/before: where it lies, with a confidence of 95 %. `None` of a single repetition."""
    high: float | None
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before

    @property
    def worse(self) -> float:
        """The share by which it is worse, as seen by who waits: of rates what is lost, of times what is added."""
        return 1 - self.ratio if self.figure.larger_is_better else self.ratio - 1


class Difference(NamedTuple):
    """Something that is not the same in both, in words for people."""

    name: str
    before: str
    after: str


class Pair(NamedTuple):
    """Two series of the same work."""

    before: Series
    after: Series
    changes: tuple[Change, ...]
    around: tuple[Difference, ...]
    """What does the work otherwise than before: another engine, driver or device."""


class Unlike(NamedTuple):
    """A series that has none of its kind to be compared with."""

    series: Series
    nearest: Series | None
    differences: tuple[Difference, ...]
    """From the nearest one; none where there is nothing on the other side, or what there is is compared already."""


class Comparison(NamedTuple):
    """What two benches say against each other."""

    before: Bench
    after: Bench
    machines: Difference | None
    """Two different ones: then nothing is compared."""
    around: tuple[Difference, ...]
    """Versions of the system and of lf."""
    pairs: tuple[Pair, ...]
    unlike: tuple[Unlike, ...]
    """Series of `after` that `before` has none of."""
    gone: tuple[Series, ...]
    """Series of `before` that `after` has none of."""


def compare(before: Bench, after: Bench) -> Comparison:
    """What became faster and what slower, and what cannot be compared and why."""
    around = tuple(_differ(before, after, ("system", "lf_version")))
    if before.machine != after.machine:
        machines = Difference("machine", before.machine_name, after.machine_name)
        return Comparison(before, after, machines, around, (), (), before.series)
    matches = _match(before.series, after.series)
    pairs = tuple(_pair(before.series[matches[place]], after.series[place]) for place in sorted(matches))
    unlike = [one for place, one in enumerate(after.series) if place not in matches]
    gone = [one for place, one in enumerate(before.series) if place not in matches.values()]
    return Comparison(
        before, after, None, around, pairs, tuple(_explain(one, before.series) for one in unlike), tuple(gone)
    )


def _match(before: Sequence[Series], after: Sequence[Series]) -> dict[int, int]:
    """Which of `before` each of `after` is compared with, by their places: the most alike first, each once."""
    alike = sorted(
        (len(list(_differ(old.contender, new.contender, _AROUND))), there, here)
        for here, old in enumerate(before)
        for there, new in enumerate(after)
        if not find_differences(old, new)
    )
    matches: dict[int, int] = {}
    for _, there, here in alike:
        if there not in matches and here not in matches.values():
            matches[there] = here
    return matches


def find_worse(comparison: Comparison, bar: float) -> tuple[tuple[Pair, Change], ...]:
    """The figures that are worse by more than a share (0.05 for 5 %), and outside noise."""
    return tuple(
        (pair, change)
        for pair in comparison.pairs
        for change in pair.changes
        if change.verdict == "slower" and change.worse > bar
    )


def find_differences(before: Series, after: Series) -> tuple[Difference, ...]:
    """What makes two series different work: other bytes, another length, other settings."""
    return tuple(_find_differences(before, after))


def _find_differences(before: Series, after: Series) -> Iterator[Difference]:
    one, other = before.contender, after.contender
    if not _is_same_work(before.workload, after.workload):
        yield Difference("workload", before.workload.name, after.workload.name)
    same_bytes = one.digest is not None and one.digest == other.digest
    work = [name for name in _WORK if not (same_bytes and name in {"model", "variant", "quantization"})]
    if one.format == other.format == "remote":
        work.append("runtime")  # whose address is all that is known of the machine behind it
    ways = ["through the server" if THROUGH in series.marks else "by itself" for series in (before, after)]
    if ways[0] != ways[1]:
        yield Difference("measured", *ways)
    if one.digest != other.digest:
        yield Difference("files", _shorten(one.digest), _shorten(other.digest))
    yield from _differ(one, other, work)


def _is_same_work(before: Workload, after: Workload) -> bool:
    """Whether two workloads are one; texts of a scenario are about as long, not to the token."""
    if before.scenario is not None and abs(before.prompt_tokens - after.prompt_tokens) <= ALIKE * before.prompt_tokens:
        before = before._replace(prompt_tokens=after.prompt_tokens)
    return before == after


def _shorten(digest: str | None) -> str:
    return digest[:12] if digest else "?"


def _differ(before: object, after: object, names: Iterable[str]) -> Iterator[Difference]:
    for name in names:
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            yield Difference(NAMES.get(name, name), *("?" if value is None else str(value) for value in (one, other)))


def _explain(series: Series, others: Sequence[Series]) -> Unlike:
    nearest = min(others, key=lambda one: len(find_differences(one, series)), default=None)
    return Unlike(series, nearest, find_differences(nearest, series) if nearest else ())


def _pair(before: Series, after: Series) -> Pair:
    changes = []
    for figure in FIGURES:
        if figure.applies(after.workload):
            change = _compare_figure(figure, *(_read(figure, one) for one in (before, after)))
            changes += [change] if change else []
    return Pair(before, after, tuple(changes), tuple(_differ(before.contender, after.contender, _AROUND)))


def _read(figure: Figure, series: Series) -> list[float]:
    found = (figure.read(series.workload, one) for one in series.samples)
    return [one for one in found if one is not None and 0 < one < inf]


def _compare_figure(figure: Figure, before: Sequence[float], after: Sequence[float]) -> Change | None:
    if not before or not after:
        return None
    old, new = ([log(one) for one in figures] for figures in (before, after))
    old_mean, new_mean = fsum(old) / len(old), fsum(new) / len(new)
    margin = find_margin(old, new)
    middle = new_mean - old_mean
    low, high = (None, None) if margin is None else (exp(middle - margin), exp(middle + margin))
    verdict = _judge(exp(middle), low, high, larger_is_better=figure.larger_is_better)
    return Change(figure, exp(old_mean), exp(new_mean), low, high, verdict)


def find_margin(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Half the width of Welch's interval for the difference of two means; `None` where one has a single figure."""
    if min(len(before), len(after)) < 2:
        return None
    shares = [_find_variance(figures) / len(figures) for figures in (before, after)]
    total = fsum(shares)
    if total == 0:
        return 0.0
    parts = zip(shares, (before, after), strict=True)
    freedom = 1 / fsum((share / total) ** 2 / (len(figures) - 1) for share, figures in parts)
    return find_t(freedom) * sqrt(total)


def _find_variance(figures: Sequence[float]) -> float:
    mean = fsum(figures) / len(figures)
    return fsum((one - mean) ** 2 for one in figures) / (len(figures) - 1)


def find_t(freedom: float) -> float:
    """Student's t for 95 % on both sides; of so many degrees of freedom, at least 1, rounded down: never too small."""
    return _T_975[min(max(int(freedom + 1e-9), 1), len(_T_975)) - 1]


def _judge(ratio: float, low: float | None, high: float | None, *, larger_is_better: bool) -> Verdict:
    if low is None or high is None:
        return "unknown"
    if low <= 1 <= high or abs(ratio - 1) < SMALLEST:
        return "within noise"
    return "faster" if (ratio > 1) == larger_is_better else "slower"
