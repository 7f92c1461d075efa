"""Benches that are kept, and two of them against each other: as text and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from localfirst.bench.compare import Difference
from localfirst.bench.statistics import summarize
from localfirst.bench.values import THROUGH
from localfirst.cli.screen import line, wrap
from localfirst.cli.views.bars import draw_bar
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.units import format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from localfirst.bench.compare import Change, Comparison, Pair, Unlike, Verdict
    from localfirst.bench.values import Bench, Contender, Series
    from localfirst.cli.screen import Screen

    Json = dict[str, Any]

_BENCHES = (
    Column("ID"),
    Column("BEGUN", 2),
    Column("MODELS"),
    Column("TOKENS/S", 1),
    Column("STATE"),
)
_COURSE = (Column("ID"), Column("BEGUN", 2), Column("TOKENS/S", right=True), Column("bar", 3), Column("STATE"))
_CHANGES = (
    Column("TEST"),
    Column("FIGURE"),
    Column("BEFORE", 2, right=True),
    Column("AFTER", 2, right=True),
    Column("CHANGE", right=True),
    Column("BETWEEN", 1, right=True),
    Column("VERDICT"),
)
_STYLES: dict[Verdict, str] = {"faster": "bold green", "slower": "bold red"}
_NO_TEST = Difference("test", "", "")
_BAR = 24
_FEW = 2
"""So many figures of a bench stand in one line."""
SINGLE = "A single repetition does not say how far it varies: measure several times (`-r 5`) to be told more."


def name_contender(contender: Contender) -> str:
    """`starter@q4_0 in llama-cpu`."""
    build = f"@{line(contender.variant)}" if contender.variant else ""
    return f"{line(contender.model)}{build} in {line(contender.runtime)}"


def say_time(at: str) -> str:
    """A time of a bench as this machine's clock shows it; the text itself where it is none."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return line(at)


def render_history(benches: Sequence[Bench], screen: Screen) -> list[str]:
    """Benches, a line each."""
    rows = [
        {
            "ID": line(bench.id),
            "BEGUN": say_time(bench.before.at),
            "MODELS": _say_models(bench),
            "TOKENS/S": _say_figures(bench),
            "STATE": _say_state(bench),
        }
        for bench in benches
    ]
    return _render(_BENCHES, rows, screen)


def _say_models(bench: Bench) -> str:
    models = list(dict.fromkeys(line(one.contender.model) for one in bench.series))
    return models[0] + (f" and {len(models) - 1} more" if len(models) > 1 else "") if models else "nothing"


def _say_figures(bench: Bench) -> str:
    contenders = dict.fromkeys(one.contender for one in bench.series)
    if len(contenders) > 1:
        return f"{len(contenders)} compared"
    told = [f"{line(one.workload.name)} {_say_rate(one)}" for one in bench.series[:_FEW]]
    return ", ".join(told) + (", ..." if len(bench.series) > _FEW else "")


def _say_rate(series: Series) -> str:
    rate = summarize(series).rate
    return format_tps(rate.mean if rate else None)


def _say_marks(marks: Collection[str]) -> list[str]:
    """What a line of history has to say of its figures."""
    through = ["through the server"] * (THROUGH in marks)
    return through + ["doubtful"] * (not {THROUGH}.issuperset(marks))


def _say_state(bench: Bench) -> str:
    marks = {mark for one in bench.series for mark in one.marks}
    return ", ".join(["not to its end"] * (not bench.complete) + _say_marks(marks))


def render_course(benches: Sequence[Bench], screen: Screen) -> list[str]:
    """One model over time: its figures, bench by bench, for each test of each build."""
    keys = dict.fromkeys((one.contender, one.workload) for bench in benches for one in bench.series)
    titles = dict.fromkeys((name_contender(contender), workload) for contender, workload in keys)
    lines: list[str] = []
    for name, workload in titles:
        found = [
            (bench, one)
            for bench in benches
            for one in bench.series
            if (name_contender(one.contender), one.workload) == (name, workload)
        ]
        lines += ["", screen.paint(f"{name}, {line(workload.name)}", "bold"), *_render_course(found, screen)]
    return lines[1:]


def _render_course(found: Sequence[tuple[Bench, Series]], screen: Screen) -> list[str]:
    rates = [summary.rate.mean if (summary := summarize(one)).rate else 0.0 for _, one in found]
    most = max(rates) or 1.0
    rows = [
        {
            "ID": line(bench.id),
            "BEGUN": say_time(bench.before.at),
            "TOKENS/S": _say_rate(one),
            "bar": draw_bar(rate / most, _BAR, screen),
            "STATE": ", ".join(_say_marks(one.marks)),
        }
        for (bench, one), rate in zip(found, rates, strict=True)
    ]
    widths = fit(_COURSE, rows, screen.width)
    return [format_row(widths, row) for row in rows]


def _render(columns: Sequence[Column], rows: Sequence[Mapping[str, str]], screen: Screen) -> list[str]:
    widths = fit(columns, rows, screen.width)
    return [screen.paint(format_header(widths), "dim"), *(format_row(widths, row) for row in rows)]


def history_to_json(benches: Sequence[Bench]) -> Json:
    """`lf bench history --json`."""
    return {
        "benches": [
            {
                "id": bench.id,
                "at": bench.before.at,
                "machine": bench.machine,
                "machine_name": bench.machine_name,
                "lf_version": bench.lf_version,
                "complete": bench.complete,
                "series": [_series_to_json(one) for one in bench.series],
            }
            for bench in benches
        ]
    }


def _series_to_json(series: Series) -> Json:
    rate = summarize(series).rate
    return {
        "model": series.contender.model,
        "variant": series.contender.variant,
        "runtime": series.contender.runtime,
        "workload": series.workload.name,
        "repetitions": len(series.samples),
        "rate_tps": rate.mean if rate else None,
        "rate_sd_tps": rate.sd if rate else None,
        "marks": list(series.marks),
    }


def render_comparison(comparison: Comparison, screen: Screen) -> list[str]:
    """What became faster and what slower; what could not be compared, and why."""
    before, after = comparison.before, comparison.after
    head = f"{line(after.id)} ({say_time(after.before.at)}) against {line(before.id)} ({say_time(before.before.at)})"
    lines = [*wrap(head, screen.width), *_render_differences(comparison.around, screen)]
    lines += [row for name, pairs in _group(comparison.pairs) for row in _render_pairs(name, pairs, screen)]
    if comparison.machines:
        lines += ["", screen.paint("Two different machines: nothing is compared", "bold yellow")]
        lines += _render_differences([comparison.machines], screen)
    lines += [row for told in _group_unlike(comparison.unlike) for row in ("", *_render_unlike(*told, screen))]
    gone = [] if comparison.machines else comparison.gone
    lines += [""] if gone else []
    lines += [row for text in _say_gone(gone) for row in wrap(text, screen.width)]
    if any(change.verdict == "unknown" for pair in comparison.pairs for change in pair.changes):
        lines += ["", *wrap(SINGLE, screen.width)]
    return lines


def _group(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(name_contender(pair.after.contender), []).append(pair)
    return list(groups.items())


def _render_differences(differences: Sequence[Difference], screen: Screen) -> list[str]:
    told = (
        f"{one.name}: no such one before"
        if one is _NO_TEST
        else f"{one.name}: {line(one.before)} before, {line(one.after)} after"
        for one in differences
    )
    return [row for text in told for row in wrap(text, screen.width, "  ")]


def _render_pairs(name: str, pairs: Sequence[Pair], screen: Screen) -> Iterator[str]:
    yield ""
    yield screen.paint(name, "bold")
    around = dict.fromkeys(one for pair in pairs for one in pair.around)
    yield from _render_differences(tuple(around), screen)
    told = [(_row(pair, change), change.verdict) for pair in pairs for change in pair.changes]
    rows = [row for row, _ in told]
    if not rows:
        yield "  There is no figure in both"
        return
    widths = fit(_CHANGES, rows, screen.width)
    yield screen.paint(format_header(widths), "dim")
    for row, verdict in told:
        text = format_row(widths, row)
        style = _STYLES.get(verdict)
        yield text.removesuffix(verdict) + screen.paint(verdict, style) if style else text
    for mark in dict.fromkeys(mark for pair in pairs for one in (pair.before, pair.after) for mark in one.marks):
        yield from wrap(f"Doubtful: {line(mark)}", screen.width, "  ")


def _row(pair: Pair, change: Change) -> Mapping[str, str]:
    say = format_seconds if change.figure.unit == "s" else format_tps
    between = ""
    if change.low is not None and change.high is not None:
        between = f"{change.low - 1:+.1%} to {change.high - 1:+.1%}"
    return {
        "TEST": line(pair.after.workload.name),
        "FIGURE": change.figure.name,
        "BEFORE": say(change.before),
        "AFTER": say(change.after),
        "CHANGE": f"{change.ratio - 1:+.1%}",
        "BETWEEN": between,
        "VERDICT": change.verdict,
    }


def _group_unlike(unlike: Sequence[Unlike]) -> list[tuple[str, str, tuple[Difference, ...]]]:
    """Contenders with their tests and what differs; of one machine's bench all differ alike, mostly.

    Where no test before was the same, which one came nearest says nothing.
    """
    groups: dict[tuple[str, tuple[Difference, ...]], list[str]] = {}
    for one in unlike:
        told = (_NO_TEST if each.name == "workload" else each for each in one.differences)
        key = name_contender(one.series.contender), tuple(told)
        groups.setdefault(key, []).append(line(one.series.workload.name))
    return [(name, ", ".join(tests), differences) for (name, differences), tests in groups.items()]


def _say_gone(gone: Sequence[Series]) -> Iterator[str]:
    """Whose tests were not measured again, and which."""
    groups: dict[str, list[str]] = {}
    for one in gone:
        groups.setdefault(name_contender(one.contender), []).append(line(one.workload.name))
    for name, tests in groups.items():
        yield f"Not measured again: {name}: {', '.join(tests)}"


def _render_unlike(name: str, tests: str, differences: Sequence[Difference], screen: Screen) -> Iterator[str]:
    yield from wrap(f"Not compared: {name}: {tests}", screen.width)
    yield from _render_differences(differences, screen)
    if not differences:
        yield "  There is no further one of its kind before"


def comparison_to_json(comparison: Comparison) -> Json:
    """`lf bench compare --json`."""
    return {
        "before": {"id": comparison.before.id, "at": comparison.before.before.at},
        "after": {"id": comparison.after.id, "at": comparison.after.before.at},
        "machines": comparison.machines._asdict() if comparison.machines else None,
        "around": [one._asdict() for one in comparison.around],
        "pairs": [
            {
                **_name(pair.after),
                "marks": [*dict.fromkeys((*pair.before.marks, *pair.after.marks))],
                "around": [one._asdict() for one in pair.around],
                "changes": [_change_to_json(change) for change in pair.changes],
            }
            for pair in comparison.pairs
        ],
        "unlike": [
            {**_name(one.series), "differences": [each._asdict() for each in one.differences]}
            for one in comparison.unlike
        ],
        "gone": [_name(one) for one in comparison.gone],
    }


def _name(series: Series) -> Json:
    contender = series.contender
    return {
        "model": contender.model,
        "variant": contender.variant,
        "runtime": contender.runtime,
        "workload": series.workload.name,
    }


def _change_to_json(change: Change) -> Json:
    return {
        "figure": change.figure.name,
        "unit": change.figure.unit,
        "larger_is_better": change.figure.larger_is_better,
        "before": change.before,
        "after": change.after,
        "ratio": change.ratio,
        "ratio_low": change.low,
        "ratio_high": change.high,
        "verdict": change.verdict,
    }
