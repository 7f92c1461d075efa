"""A bench for people: the machine, a line for each series, and below what makes its figures doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localfirst.bench.statistics import LEAST_GAP_S, Spread, Summary, summarize
from localfirst.cli.screen import line, wrap
from localfirst.cli.views.bench_results import name_contender
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.units import format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localfirst.bench.values import Bench, Conditions, Contender, Series
    from localfirst.cli.screen import Screen

COLUMNS = (
    Column("MODEL"),
    Column("BUILD", 1),
    Column("RUNTIME"),
    Column("DEVICE", 4),
    Column("TEST"),
    Column("TOKENS/S", right=True),
    Column("BEST", 5, right=True),
    Column("FIRST TOKEN", 2, right=True),
    Column("P95", 6, right=True),
    Column("GAP P95", 3, right=True),
    Column("MEMORY", 7, right=True),
    Column("VRAM", 8, right=True),
    Column("ROOFLINE", 9, right=True),
    Column("J/TOKEN", 8, right=True),
    Column("MARK"),
)
_WHO = frozenset({"MODEL", "BUILD", "RUNTIME", "DEVICE"})
"""Columns that say the same in every row where one contender is alone."""


def render_bench(bench: Bench, screen: Screen) -> list[str]:
    """All of it."""
    marks = list(dict.fromkeys(mark for one in bench.series for mark in one.marks))
    table = _render_table(bench, marks, screen)
    notes = list(_say_notes(bench, marks))
    return [
        *(screen.paint(row, "dim") for text in _say_machine(bench) for row in wrap(text, screen.width)),
        *(["", *table] if table else []),
        *([""] if notes else []),
        *(row for text in notes for row in hang(text, screen.width)),
    ]


def _render_table(bench: Bench, marks: Sequence[str], screen: Screen) -> list[str]:
    """The figures. Where they do not fit beside whose they are, and those are all of one, that is said once above."""
    if not bench.series:
        return []
    rows = [_make_row(one, summarize(one), marks) for one in bench.series]
    widths, head = fit(COLUMNS, rows, screen.width), []
    if len({one.contender for one in bench.series}) == 1 and len(widths) < len(fit(COLUMNS, rows, None)):
        widths = fit([one for one in COLUMNS if one.title not in _WHO], rows, screen.width)
        head = [screen.paint(name_contender(bench.series[0].contender), "bold")]
    return [*head, screen.paint(format_header(widths), "dim"), *(format_row(widths, row) for row in rows)]


def _make_row(series: Series, summary: Summary, marks: Sequence[str]) -> dict[str, str]:
    contender = series.contender
    return {
        "MODEL": line(contender.model),
        "BUILD": line(contender.variant),
        "RUNTIME": line(contender.runtime),
        "DEVICE": line(contender.device),
        "TEST": line(series.workload.name),
        "TOKENS/S": _say_rate(summary.rate),
        "BEST": format_tps(summary.rate.best) if summary.rate else "",
        "FIRST TOKEN": _say_seconds(summary.first_token_p50_s),
        "P95": _say_seconds(summary.first_token_p95_s),
        "GAP P95": say_gap(summary.gap_p95_s),
        "MEMORY": format_bytes(series.peak_bytes) if series.peak_bytes else "",
        "VRAM": format_bytes(series.device_peak_bytes) if series.device_peak_bytes else "",
        "ROOFLINE": f"{summary.roofline:.0%}" if summary.roofline is not None else "",
        "J/TOKEN": f"{summary.joules_per_token:.3g}" if summary.joules_per_token is not None else "",
        "MARK": ",".join(str(marks.index(mark) + 1) for mark in series.marks),
    }


def _say_machine(bench: Bench) -> Iterator[str]:
    """What it was measured on."""
    yield line(f"{bench.machine_name}; {bench.system}; lf {bench.lf_version}")
    yield line("; ".join(_say_conditions(bench.before, bench)))


def _say_conditions(conditions: Conditions, bench: Bench) -> Iterator[str]:
    if conditions.busy_share is not None:
        yield f"{conditions.busy_share:.0%} busy before"
    if conditions.load_average is not None:
        yield f"load {conditions.load_average:.1f}"
    if conditions.governor:
        yield f"governor {conditions.governor}"
    temperatures = [one.temperature_c for one in (conditions, bench.after) if one.temperature_c is not None]
    if temperatures:
        yield " to ".join(f"{one:.0f}" for one in temperatures) + " °C"
    speeds = dict.fromkeys(one.bandwidth_bytes_per_s for one in bench.series if one.bandwidth_bytes_per_s)
    if speeds:
        yield f"memory {' and '.join(format_bytes(one) for one in speeds)}/s"
    yield f"energy by {bench.energy_counter}" if bench.energy_counter else "no energy counter that may be read"


def _say_notes(bench: Bench, marks: Sequence[str]) -> Iterator[str]:
    for place, mark in enumerate(marks, 1):
        yield f"{place}  {line(mark)}"
    for contender in dict.fromkeys(one.contender for one in bench.series):
        yield from _say_contender(contender, next(one for one in bench.series if one.contender == contender))
    if any((gap := summarize(one).gap_p95_s) is not None and gap < LEAST_GAP_S for one in bench.series):
        least = f"{LEAST_GAP_S * 1000:.0f} ms"
        yield f"-  Gaps below {least} are not seen: texts that follow each other faster come together"
    for failure in bench.failures:
        yield f"!  Not measured: {line(failure)}"
    if not bench.complete:
        yield "!  This bench did not come to its end"


def _say_contender(contender: Contender, series: Series) -> Iterator[str]:
    loads = [
        f"{format_seconds(seconds)} from {source}"
        for seconds, source in ((series.load.cold_s, "the disk"), (series.load.warm_s, "memory"))
        if seconds is not None
    ]
    facts = [
        f"{line(contender.engine)} {line(contender.engine_version)}",
        f"loads in {', '.join(loads)}" if loads else "",
        f"{contender.threads} threads" if contender.threads and contender.threads > 1 else "",
        f"driver {line(contender.driver)}" if contender.driver else "",
        f"files {contender.digest[:12]}" if contender.digest else "",
    ]
    yield f"-  {name_contender(contender)}: {', '.join(fact for fact in facts if fact)}"


def _say_rate(spread: Spread | None) -> str:
    """`21.4 ± 0.3`, with as many digits after the point as the mean has."""
    if spread is None:
        return "?"
    if spread.sd is None:
        return format_tps(spread.mean)
    return f"{format_tps(spread.mean)} ± {spread.sd:.{0 if spread.mean >= 99.95 else 1}f}"


def _say_seconds(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds)


def say_gap(seconds: float | None) -> str:
    """A gap between two texts, `< 40 ms` where it is smaller than those that are seen."""
    if seconds is None:
        return ""
    return f"< {LEAST_GAP_S * 1000:.0f} ms" if seconds < LEAST_GAP_S else format_seconds(seconds)


def hang(text: str, width: int | None) -> list[str]:
    """A note whose further lines stand under its words."""
    mark, _, words = text.partition("  ")
    first, *others = wrap(words, width and width - len(mark) - 2)
    return [f"{mark}  {first}", *(f"{' ' * len(mark)}  {row}" for row in others)]
