"""What `lf bench calibrate` found, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localfirst.cli.screen import line, wrap
from localfirst.cli.views.bench import hang
from localfirst.cli.views.table import Column, fit, format_header, format_row
from localfirst.units import format_bytes, format_seconds, format_tps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localfirst.catalog.pace import Line
    from localfirst.cli.screen import Screen
    from localfirst.services.bench.calibrate import Calibration, Figure

SCHEMA = "lf.calibration/1"
EXAMPLE_BYTES = 2_500_000_000
"""Of a model of four billion parameters in some 5 bits: by its speed it is shown what changes."""
COLUMNS = (
    Column("RUNTIME"),
    Column("ENGINE", 3),
    Column("SMALL", 2, right=True),
    Column("MEDIUM", 2, right=True),
    Column("LARGE", 1, right=True),
    Column("READS", right=True),
    Column("STEP", right=True),
    Column("A MODEL OF 2.5 GB", right=True),
)


def render_calibration(found: Calibration, screen: Screen) -> list[str]:
    """All of it."""
    rows = [_make_row(one) for one in found.figures]
    widths = fit(COLUMNS, rows, screen.width)
    notes = [part for note in _say_notes(found) for part in hang(note, screen.width)]
    return [
        *(screen.paint(row, "dim") for row in wrap(_say_machine(found), screen.width)),
        "",
        *([screen.paint(format_header(widths), "dim"), *(format_row(widths, row) for row in rows), ""] if rows else []),
        *notes,
    ]


def calibration_to_json(found: Calibration) -> dict[str, Any]:
    """The object of `-o json`: rates in tokens per second, steps in seconds, bandwidths in bytes per second."""
    return {
        "schema": SCHEMA,
        "machine_name": found.machine_name,
        "busy_share": found.before.busy_share,
        "memory_bytes_per_s": found.memory_bytes_per_s,
        "runtimes": [
            {
                "runtime": one.runtime,
                "engine_version": one.engine_version,
                "device": one.device,
                "measured": [{"network": size, **rates._asdict()} for size, rates in one.rates.items()],
                "before": _line_to_json(one.before),
                "after": _line_to_json(one.after),
            }
            for one in found.figures
        ],
        "failures": list(found.failures),
        "notes": list(found.notes),
        "wall_s": found.wall_s,
        "complete": found.complete,
    }


def _line_to_json(one: Line | None) -> dict[str, float] | None:
    return None if one is None else {"step_s": one.step_s, "bytes_per_s": 1 / one.s_per_byte if one.s_per_byte else 0.0}


def _make_row(figure: Figure) -> dict[str, str]:
    after = figure.after
    return {
        "RUNTIME": line(figure.runtime),
        "ENGINE": line(figure.engine_version),
        "SMALL": _say_rate(figure, "small"),
        "MEDIUM": _say_rate(figure, "medium"),
        "LARGE": _say_rate(figure, "large"),
        "READS": f"{format_bytes(int(1 / after.s_per_byte))}/s" if after and after.s_per_byte else "",
        "STEP": f"{after.step_s * 1000:.2f} ms" if after else "",
        "A MODEL OF 2.5 GB": f"{_say_example(figure.before)} -> {_say_example(after)} tok/s",
    }


def _say_rate(figure: Figure, size: Any) -> str:
    return f"{format_tps(figure.rates[size].decode_tps)} tok/s" if size in figure.rates else ""


def _say_example(one: Line | None) -> str:
    return format_tps(one.find_tps(EXAMPLE_BYTES)) if one else "?"


def _say_machine(found: Calibration) -> str:
    speed = found.memory_bytes_per_s
    told = f"memory {format_bytes(speed)}/s" if speed else "too little free memory to measure its speed"
    return f"{line(found.machine_name)}; {told}; took {format_seconds(found.wall_s)}"


def _say_notes(found: Calibration) -> Iterator[str]:
    if found.figures:
        yield (
            "-  READS and STEP: a token takes STEP for 24 layers, and its bytes at READS; the last column is what was "
            "expected of a model of that size before, and what is now"
        )
        yield "-  `lf model list --fits` goes by it from now on, `lf model explain MODEL` says so"
        if found.busy:
            yield (
                "!  The machine was busy: these figures are too low, and models may be refused as too slow by them "
                "(`--min-tps 0` runs those). Type it again when it is quiet"
            )
    for note in found.notes:
        yield f"-  {line(note)}"
    for failure in found.failures:
        yield f"!  Not measured: {line(failure)}"
    if not found.complete:
        yield "!  It did not come to its end; what was measured is kept"
