"""A bench as rows of the tables of `schema`, and rows as a bench."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localfirst.bench.values import Bench, Conditions, Contender, Load, Sample, Series, Workload

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

_BENCH = (
    *("id", "machine", "machine_name", "system", "lf_version"),
    *("arguments", "energy_counter", "complete"),
)
_SERIES = ("peak_bytes", "device_peak_bytes", "bytes_per_token", "bandwidth_bytes_per_s")
_SAMPLE = tuple(name for name in Sample._fields if name not in {"first_token_s", "gaps_s"})
_CONTENDERS = f"""
    select number, {", ".join(Contender._fields)} from contender
    where number in (select contender from series where bench = ?)"""  # noqa: S608 - names of ours, here and below
_WORKLOADS = f"""
    select number, {", ".join(Workload._fields)} from workload
    where number in (select workload from series where bench = ?)"""  # noqa: S608
_ALL_SERIES = f"""
    select number, contender, workload, cold_s, warm_s, {", ".join(_SERIES)} from series
    where bench = ? order by position"""  # noqa: S608
_ALL_SAMPLES = f"""
    select number, series, {", ".join(_SAMPLE)} from sample
    where series in (select number from series where bench = ?) order by series, position"""  # noqa: S608
_MARKS = """
    select series, words from mark
    where series in (select number from series where bench = ?) order by series, position"""
_FAILURES = "select bench, words from failure where bench = ? order by position"
_OF_SAMPLES = """
    select sample, seconds from {} where sample in (
        select sample.number from sample join series on series.number = sample.series where bench = ?
    ) order by sample, position"""


def insert(opened: sqlite3.Connection, bench: Bench) -> None:
    """Add a bench, whose id is new."""
    fields = {name: getattr(bench, name) for name in _BENCH} | {"arguments": json.dumps(bench.arguments)}
    number = insert_row(opened, "bench", fields)
    for moment, conditions in (("before", bench.before), ("after", bench.after)):
        insert_row(opened, "conditions", {"bench": number, "moment": moment} | conditions._asdict())
    insert_list(opened, "failure", "bench, position, words", number, bench.failures)
    for position, series in enumerate(bench.series):
        _insert_series(opened, number, position, series)


def select(opened: sqlite3.Connection, name: str, *, gaps: bool = True) -> tuple[Bench, ...]:
    """The bench of that id, if there is one; without `gaps` none between the pieces are read."""
    rows = opened.execute(f"select number, {', '.join(_BENCH)} from bench where id = ?", (name,))  # noqa: S608
    return tuple(_make_bench(opened, *row, gaps=gaps) for row in rows.fetchall())


def _insert_series(opened: sqlite3.Connection, bench: int, position: int, series: Series) -> None:
    number = insert_row(
        opened,
        "series",
        {
            "bench": bench,
            "position": position,
            "contender": find_or_insert(opened, "contender", series.contender._asdict()),
            "workload": find_or_insert(opened, "workload", {"name": series.workload.name} | series.workload._asdict()),
            **series.load._asdict(),
            **{name: getattr(series, name) for name in _SERIES},
        },
    )
    insert_list(opened, "mark", "series, position, words", number, series.marks)
    for place, sample in enumerate(series.samples):
        figures = {name: getattr(sample, name) for name in _SAMPLE}
        row = insert_row(opened, "sample", {"series": number, "position": place} | figures)
        insert_list(opened, "first_token", "sample, position, seconds", row, sample.first_token_s)
        insert_list(opened, "gap", "sample, position, seconds", row, sample.gaps_s)


def insert_row(opened: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """Add a row; its number."""
    marks = ", ".join("?" * len(row))
    sql = f"insert into {table} ({', '.join(row)}) values ({marks})"  # noqa: S608 - names of ours, question marks
    return opened.execute(sql, [_make_storable(value) for value in row.values()]).lastrowid or 0


def insert_list(
    opened: sqlite3.Connection, table: str, columns: str, owner: int, values: Iterable[str | float]
) -> None:
    """Add the rows of a list: its owner, the place of each, the value."""
    sql = f"insert into {table} ({columns}) values (?, ?, ?)"  # noqa: S608 - names of ours
    opened.executemany(sql, ((owner, place, _make_storable(value)) for place, value in enumerate(values)))


def find_or_insert(opened: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    """The row of that table that is the same in everything, made where there is none."""
    same = " and ".join(f"{name} is ?" for name in row)
    sql = f"select number from {table} where {same}"  # noqa: S608 - names of ours, question marks
    found = opened.execute(sql, [_make_storable(value) for value in row.values()]).fetchone()
    return int(found[0]) if found else insert_row(opened, table, row)


def _make_storable(value: object) -> object:
    """The value; of a text, what UTF-8 has: the name of a file may hold bytes that are no text."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _make_bench(opened: sqlite3.Connection, number: int, *values: Any, gaps: bool) -> Bench:
    fields = dict(zip(_BENCH, values, strict=True))
    fields |= {"arguments": tuple(json.loads(fields["arguments"])), "complete": bool(fields["complete"])}
    moments = _select_conditions(opened, number)
    return Bench(
        **fields,
        before=moments["before"],
        after=moments["after"],
        series=tuple(_select_series(opened, number, gaps=gaps)),
        failures=select_lists(opened, _FAILURES, number).get(number, ()),
    )


def _select_conditions(opened: sqlite3.Connection, bench: int) -> dict[str, Conditions]:
    names = Conditions._fields
    rows = opened.execute(f"select moment, {', '.join(names)} from conditions where bench = ?", (bench,))  # noqa: S608
    found = {moment: dict(zip(names, values, strict=True)) for moment, *values in rows}
    flags = ("throttled", "on_battery")
    return {
        moment: Conditions(**fields | {flag: None if fields[flag] is None else bool(fields[flag]) for flag in flags})
        for moment, fields in found.items()
    }


def _select_series(opened: sqlite3.Connection, bench: int, *, gaps: bool) -> Iterator[Series]:
    contenders = {number: Contender(*fields) for number, *fields in opened.execute(_CONTENDERS, (bench,))}
    workloads = {number: Workload(*fields) for number, *fields in opened.execute(_WORKLOADS, (bench,))}
    marks = select_lists(opened, _MARKS, bench)
    samples = _select_samples(opened, bench, gaps=gaps)
    for number, contender, workload, cold_s, warm_s, *sizes in opened.execute(_ALL_SERIES, (bench,)):
        yield Series(
            contenders[contender],
            workloads[workload],
            tuple(samples.get(number, ())),
            Load(read_number(cold_s), read_number(warm_s)),
            **dict(zip(_SERIES, map(read_number, sizes), strict=True)),
            marks=marks.get(number, ()),
        )


def _select_samples(opened: sqlite3.Connection, bench: int, *, gaps: bool) -> dict[int, list[Sample]]:
    """The samples of a bench by the number of their series."""
    firsts = _select_numbers(opened, _OF_SAMPLES.format("first_token"), bench)
    pauses = _select_numbers(opened, _OF_SAMPLES.format("gap"), bench) if gaps else {}
    found: dict[int, list[Sample]] = {}
    for number, series, *values in opened.execute(_ALL_SAMPLES, (bench,)):
        figures = dict(zip(_SAMPLE, map(read_number, values), strict=True))
        sample = Sample(first_token_s=firsts.get(number, ()), gaps_s=pauses.get(number, ()), **figures)
        found.setdefault(series, []).append(sample)
    return found


def read_number(value: Any) -> Any:
    """The value of a numeric column, in which SQLite keeps texts, too.

    Raises:
        ValueError: it is one.
    """
    if isinstance(value, (str, bytes)):
        raise ValueError(f"{value!r:.40} is no number")  # noqa: TRY004 - of the file, not of a caller
    return value


def _select_numbers(opened: sqlite3.Connection, query: str, bench: int) -> dict[int, tuple[Any, ...]]:
    lists = select_lists(opened, query, bench)
    return {owner: tuple(map(read_number, values)) for owner, values in lists.items()}


def select_lists(opened: sqlite3.Connection, query: str, bench: int) -> dict[int, tuple[Any, ...]]:
    """What a query gives as pairs of an owner and a value: the values of each owner."""
    found: dict[int, list[Any]] = {}
    for owner, value in opened.execute(query, (bench,)):
        found.setdefault(owner, []).append(value)
    return {owner: tuple(values) for owner, values in found.items()}
