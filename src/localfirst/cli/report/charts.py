"""Which plots a bench gives, as values: bars of what was reached, lines where something was varied. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from localfirst.bench.statistics import Spread, find_rate, percentile, spread, summarize
from localfirst.bench.values import Workload
from localfirst.units import format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.bench.values import Bench, Contender, Series

MOST_LINES = 8
"""More than there are colours are told apart by nobody."""


class Bar(NamedTuple):
    """One bar."""

    name: str
    value: float
    low: float | None
    """Where its whisker begins and ends; `None`: it has none."""
    high: float | None
    points: tuple[float, ...]
    label: str
    colour: int
    doubtful: bool = False


class Bars(NamedTuple):
    """A plot of bars, all from 0."""

    title: str
    about: str
    bars: tuple[Bar, ...]


class Line(NamedTuple):
    """One line; its points are in the order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


class Lines(NamedTuple):
    """A plot of lines, its y from 0."""

    title: str
    about: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]


Chart = Bars | Lines


def find_charts(bench: Bench) -> tuple[Chart, ...]:
    """Every plot that has something to show."""
    return tuple(_find_charts(bench))


def _find_charts(bench: Bench) -> Iterator[Chart]:
    mean = "Tokens per second: the mean, one standard deviation to each side, and every repetition as a point."
    for title, read in (("Generating", _read_decode), ("Reading a prompt", _read_prefill)):
        told = [(one, [each for each in read(one) if each is not None]) for one in bench.series]
        bars = tuple(_make_bar(bench, one, figures) for one, figures in told if figures)
        if bars:
            yield Bars(title, mean, bars)
    waits = tuple(bar for one in bench.series if one.workload.prompt_tokens for bar in _make_waits(bench, one))
    if waits:
        yield Bars(
            "Until the first token", "The median; the whisker ends where 95 % of the requests are answered.", waits
        )
    yield from _find_lines(bench)
    yield from _find_course(bench)
    yield from _find_memory(bench)


def _read_decode(series: Series) -> list[float | None]:
    return [one.decode_tps for one in series.samples] if series.workload.generated_tokens else []


def _read_prefill(series: Series) -> list[float | None]:
    return [one.prefill_tps for one in series.samples] if series.workload.prompt_tokens else []


def _make_bar(bench: Bench, series: Series, figures: Sequence[float]) -> Bar:
    told = spread(figures) or Spread(0.0, None, 0.0)
    low, high = (None, None) if told.sd is None else (max(told.mean - told.sd, 0.0), told.mean + told.sd)
    label = format_tps(told.mean) + ("" if told.sd is None else f" ± {told.sd:.{0 if told.mean >= 99.95 else 1}f}")
    return Bar(
        _name(bench, series), told.mean, low, high, tuple(figures), label,
        _find_colour(bench, series.contender), bool(series.marks),
    )  # fmt: skip


def _make_waits(bench: Bench, series: Series) -> Iterator[Bar]:
    waits = tuple(wait for one in series.samples for wait in one.first_token_s)
    middle, most = percentile(waits, 0.5), percentile(waits, 0.95)
    if middle is not None and most is not None:
        colour = _find_colour(bench, series.contender)
        name, label = _name(bench, series), format_seconds(middle)
        yield Bar(name, middle, middle, most, waits, label, colour, bool(series.marks))


def _find_lines(bench: Bench) -> Iterator[Lines]:
    for field, plain, title, x_title in (
        ("depth_tokens", {"depth_tokens": 0}, "After more context", "tokens in the cache before"),
        ("concurrency", {"concurrency": 1}, "Requests at the same time", "requests"),
    ):
        lines: dict[str, list[tuple[float, float]]] = {}
        for one in bench.series:
            rate = summarize(one).rate
            base = one._replace(workload=Workload(**one.workload._asdict() | plain))
            if rate is not None:
                lines.setdefault(_name(bench, base), []).append((getattr(one.workload, field), rate.mean))
        varied = [Line(name, tuple(sorted(points))) for name, points in lines.items() if len(dict(points)) > 1]
        if 0 < len(varied) <= MOST_LINES:
            yield Lines(title, "Tokens per second, of all requests together.", x_title, "tok/s", tuple(varied))


def _find_course(bench: Bench) -> Iterator[Lines]:
    lines = []
    for one in bench.series:
        rates = [rate for each in one.samples if (rate := find_rate(one.workload, each)) is not None]
        told = spread(rates)
        if told is not None and told.mean and len(rates) > 2:
            points = tuple((place, 100 * rate / told.mean) for place, rate in enumerate(rates, 1))
            lines.append(Line(_name(bench, one), points))
    if 0 < len(lines) <= MOST_LINES:
        about = "In percent of their mean: a slope is a machine that grew warm or busy."
        yield Lines("Repetition by repetition", about, "repetition", "%", tuple(lines))


def _find_memory(bench: Bench) -> Iterator[Bars]:
    peaks: dict[Contender, int] = {}
    for one in bench.series:
        if one.peak_bytes:
            peaks[one.contender] = max(peaks.get(one.contender, 0), one.peak_bytes)
    if len(peaks) > 1:
        bars = tuple(
            Bar(name_contender(one), peak, None, None, (), format_bytes(peak), _find_colour(bench, one))
            for one, peak in peaks.items()
        )
        yield Bars("Memory at its most", "Of the process that held the model, and those that it started.", bars)


def name_contender(contender: Contender) -> str:
    """`starter@q4_0 in llama-cpu`."""
    return f"{contender.model}{f'@{contender.variant}' if contender.variant else ''} in {contender.runtime}"


def _name(bench: Bench, series: Series) -> str:
    """What tells a series apart from the others here."""
    alone = len({one.contender for one in bench.series}) == 1
    return series.workload.name if alone else f"{name_contender(series.contender)}, {series.workload.name}"


def _find_colour(bench: Bench, contender: Contender) -> int:
    return list(dict.fromkeys(one.contender for one in bench.series)).index(contender) % MOST_LINES
