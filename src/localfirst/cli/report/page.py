"""The page: what was measured, on what, plots with their tables, and what makes figures doubtful."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localfirst import paths
from localfirst.bench.statistics import summarize
from localfirst.cli.report import svg
from localfirst.cli.report.charts import Lines, find_charts, name_contender
from localfirst.cli.screen import line
from localfirst.cli.views.bench import say_gap
from localfirst.units import format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localfirst.bench.statistics import Spread
    from localfirst.bench.values import Bench, Conditions, Contender, Series


def render(bench: Bench) -> str:
    """The whole page; every text in it is made inert and escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(
        loader=FileSystemLoader(paths.package_dir() / "cli" / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    marks = list(dict.fromkeys(mark for one in bench.series for mark in one.marks))
    charts = [
        {
            "title": one.title,
            "about": one.about,
            "drawing": Markup(svg.draw(one, number)),  # noqa: S704 - ElementTree has escaped it
            "keys": [
                (Markup(svg.draw_key(colour)), line(each.name))  # noqa: S704 - as above
                for colour, each in enumerate(one.lines)
            ]
            if isinstance(one, Lines)
            else [],
        }
        for number, one in enumerate(find_charts(bench))
    ]
    return pages.get_template("page.html").render(
        bench={name: line(value) if isinstance(value, str) else value for name, value in bench._asdict().items()},
        arguments=line(" ".join(bench.arguments)),
        models=line(", ".join(dict.fromkeys(one.contender.model for one in bench.series)) or "nothing"),
        marks=[line(mark) for mark in marks],
        failures=[line(one) for one in bench.failures],
        rows=_drop_empty([_make_row(one, marks) for one in bench.series]),
        charts=charts,
        contenders=[_list_facts(one) for one in _find_firsts(bench)],
        conditions=_list_conditions(bench.before, bench.after),
    )


def make_file_name(text: str) -> str:
    """An id as a part of a file's name: one of a JSON file may say anything."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", text)[:40] or "bench"


def show(path: Path) -> bool:
    """Open the page in the user's browser; whether there is one."""
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())


def _find_firsts(bench: Bench) -> Iterator[Series]:
    """The first series of each contender."""
    seen: set[Contender] = set()
    for one in bench.series:
        if one.contender not in seen:
            seen.add(one.contender)
            yield one


def _drop_empty(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows without the columns in which nothing is known."""
    return [{name: cell for name, cell in row.items() if any(one[name] for one in rows)} for row in rows]


def _make_row(series: Series, marks: list[str]) -> dict[str, str]:
    summary = summarize(series)
    return {
        "Contender": line(name_contender(series.contender)),
        "Test": line(series.workload.name),
        "Runs": str(len(series.samples)),
        "Tokens/s": _say_rate(summary.rate),
        "Best": format_tps(summary.rate.best) if summary.rate else "",
        "First token": _say_seconds(summary.first_token_p50_s),
        "95 %": _say_seconds(summary.first_token_p95_s),
        "Gap 95 %": say_gap(summary.gap_p95_s),
        "Memory": format_bytes(series.peak_bytes) if series.peak_bytes is not None else "",
        "Device memory": format_bytes(series.device_peak_bytes) if series.device_peak_bytes is not None else "",
        "Roofline": "" if summary.roofline is None else f"{summary.roofline:.0%}",
        "J/token": "" if summary.joules_per_token is None else f"{summary.joules_per_token:.3g}",
        "Mark": ", ".join(str(marks.index(mark) + 1) for mark in dict.fromkeys(series.marks)),
    }


def _say_rate(spread: Spread | None) -> str:
    if spread is None:
        return ""
    digits = 0 if spread.mean >= 99.95 else 1
    return format_tps(spread.mean) + ("" if spread.sd is None else f" ± {spread.sd:.{digits}f}")


def _say_seconds(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds)


def _list_facts(series: Series) -> tuple[str, list[tuple[str, str]]]:
    """All that is known of a contender, by what it is called; `series` is its first."""
    contender, load, bandwidth = series.contender, series.load, series.bandwidth_bytes_per_s
    shown: dict[str, Any] = {
        "Format": contender.format,
        "Quantization": contender.quantization,
        "Weights": format_bytes(contender.size_bytes) if contender.size_bytes is not None else None,
        "SHA-256 of the files": contender.digest,
        "Engine": f"{contender.engine} {contender.engine_version}",
        "Its build": contender.build,
        "Device": contender.device,
        "Driver": contender.driver,
        "Context": contender.context_tokens,
        "Threads": contender.threads,
        "Cache": contender.cache,
        "Batch": contender.batch_tokens,
        "Loads from the disk in": None if load.cold_s is None else format_seconds(load.cold_s),
        "Loads from memory in": None if load.warm_s is None else format_seconds(load.warm_s),
        "Bandwidth of its memory": None if bandwidth is None else f"{format_bytes(bandwidth)}/s",
    }
    return line(name_contender(contender)), [(name, line(str(one))) for name, one in shown.items() if one is not None]


def _list_conditions(before: Conditions, after: Conditions) -> list[tuple[str, str, str]]:
    """The machine before and after, as far as it is known."""
    say: dict[str, tuple[str, Callable[[Any], str]]] = {
        "at": ("Time (UTC)", str),
        "load_average": ("Load", "{:.1f}".format),
        "busy_share": ("Used by others", "{:.0%}".format),
        "governor": ("Governor", str),
        "frequency_hz": ("Frequency", lambda hertz: f"{hertz / 1e9:.2f} GHz"),
        "temperature_c": ("Temperature", "{:.0f} °C".format),
        "throttled": ("Held itself back", lambda flag: "yes" if flag else "no"),
        "on_battery": ("On battery", lambda flag: "yes" if flag else "no"),
    }
    rows = []
    for field, (name, form) in say.items():
        values = getattr(before, field), getattr(after, field)
        if any(value is not None for value in values):
            old, new = ("?" if value is None else line(form(value)) for value in values)
            rows.append((name, old, new))
    return rows
