"""How well builds foretold texts, whole calls of it in the file of measurements."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst import paths
from localfirst.bench.quality import Comparison, Mean, Quality, Report, Row
from localfirst.bench.values import Contender
from localfirst.errors import StoreError
from localfirst.store import bench_rows, database
from localfirst.store.schema import QUALITIES_SINCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

_REPORT = tuple(name for name in Report._fields if name not in {"rows", "failures"})
_FLAGS = {"whole", "complete"}
_ROW = (
    *("contender", "is_reference", "partial", "tokens", "cost", "cost_error", "loss", "loss_error"),
    *("kl", "kl_error", "same_best", "same_best_error", "kl_told"),
)
_ROWS = f"select {', '.join(_ROW)} from quality_row where quality = ? order by position"  # noqa: S608 - names of ours
_CONTENDER = f"select {', '.join(Contender._fields)} from contender where number = ?"  # noqa: S608
_FAILURES = "select quality, words from quality_failure where quality = ? order by position"


def save(report: Report, say: Callable[[str], None]) -> None:
    """Keep a call; `say` hears that a damaged file was put aside, where one was.

    Raises:
        DiskFullError: no space is left.
        StoreError: the file cannot be written, is another process's for long, or of a newer lf.
    """
    database.mend(lambda: _save(report), say)


def load(say: Callable[[str], None]) -> tuple[Report, ...]:
    """All that is kept, the newest first.

    Raises:
        StoreError: the file cannot be read, or is of a newer lf.
    """
    return tuple(database.mend(lambda: database.query(_load, since=QUALITIES_SINCE), say))


def _save(report: Report) -> None:
    with database.write(database.WAIT_S) as opened:
        fields = {name: getattr(report, name) for name in _REPORT} | {"arguments": json.dumps(report.arguments)}
        number = bench_rows.insert_row(opened, "quality", fields)
        for position, row in enumerate(report.rows):
            contender = bench_rows.find_or_insert(opened, "contender", row.contender._asdict())
            values = dict(zip(_ROW, (contender, *_flatten(row)), strict=True))
            bench_rows.insert_row(opened, "quality_row", {"quality": number, "position": position} | values)
        bench_rows.insert_list(opened, "quality_failure", "quality, position, words", number, report.failures)


def _flatten(row: Row) -> Iterator[object]:
    """The columns of a build's row after its contender."""
    yield from (row.is_reference, row.partial, row.quality.tokens, *row.quality.cost)
    if (told := row.comparison) is None:
        yield from (None,) * 7
        return
    yield from (*told.excess, *(told.divergence or (None, None)), *(told.same_best or (None, None)), told.told)


def _load(opened: sqlite3.Connection) -> list[Report]:
    opened.execute("begin")  # one moment of the file, whatever others write meanwhile
    found = opened.execute(f"select number, {', '.join(_REPORT)} from quality order by number desc")  # noqa: S608
    return [_read(opened, *row) for row in found.fetchall()]


def _read(opened: sqlite3.Connection, number: int, *values: Any) -> Report:
    try:
        fields = {
            name: bool(value) if name in _FLAGS else value for name, value in zip(_REPORT, values, strict=True)
        } | {"arguments": tuple(json.loads(values[_REPORT.index("arguments")]))}
        rows = tuple(_make_row(opened, *row) for row in opened.execute(_ROWS, (number,)).fetchall())
        failures = bench_rows.select_lists(opened, _FAILURES, number).get(number, ())
        return Report(**fields, rows=rows, failures=failures)
    except (LookupError, TypeError, ValueError) as error:  # somebody else has written into it
        raise StoreError(
            "What is kept of `lf bench --quality` cannot be read",
            detail=f"{paths.measurements_file()}: {type(error).__name__}: {error}",
            hint="Renamed, the file stays, and lf begins a new one.",
        ) from error


def _make_row(opened: sqlite3.Connection, contender: int, *values: Any) -> Row:
    is_reference, partial, tokens, *figures = map(bench_rows.read_number, values)
    cost, loss, divergence, same_best = (
        None if value is None else Mean(value, error)
        for value, error in zip(figures[:8:2], figures[1:8:2], strict=True)
    )
    if cost is None:
        raise ValueError("a build has no cost")
    (fields,) = opened.execute(_CONTENDER, (contender,))
    compared = None if loss is None else Comparison(loss, divergence, same_best, figures[8])
    return Row(Contender(*fields), Quality(tokens, cost), compared, bool(is_reference), bool(partial))
