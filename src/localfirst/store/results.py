"""Whole benches in the file of measurements: kept with every sample, found by their id, listed."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from localfirst import paths
from localfirst.errors import LfError, StoreError, UnknownNameError
from localfirst.store import bench_rows, database
from localfirst.store.schema import BENCHES_SINCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from localfirst.bench.values import Bench

Found = TypeVar("Found")
LETTERS = "bcdfghjkmnpqrstvwxz"
"""Of ids: no vowels, so that they make no words, and no `l`, which looks like a digit."""
_AGE = re.compile(r"last(?:~\d{1,9})?", re.ASCII)
_NO_BENCH = "`lf bench MODEL` makes one, `lf bench history` lists them."


class Entry(NamedTuple):
    """A bench that is kept, by what it is called."""

    id: str
    at: str
    """When it was begun: UTC, ISO 8601."""


def make_id() -> str:
    """A new id: the day and four letters, `20261128-kfmz`."""
    return f"{datetime.now(UTC):%Y%m%d}-{''.join(secrets.choice(LETTERS) for _ in range(4))}"


def save(bench: Bench, say: Callable[[str], None]) -> Bench:
    """Keep a bench; the bench as it is kept, whose id is another one where that was taken.

    `say` hears that a damaged file was put aside, where one was.

    Raises:
        DiskFullError: no space is left.
        StoreError: the file cannot be written, is another process's for long, or of a newer lf.
    """
    return database.mend(lambda: _save(bench), say)


def load(name: str, say: Callable[[str], None]) -> Bench:
    """A bench by its id, by the beginning or the end of one, or as `last` and, before that one, `last~1`.

    Raises:
        StoreError: the file cannot be read, or is of a newer lf.
        UnknownNameError: there is none, or several are called so.
    """
    entry = find_entry(name, list_entries(say))
    found = database.mend(lambda: _read(lambda opened: _load(opened, [entry.id])), say)
    if not found:
        raise UnknownNameError(f"There is no bench `{name}` any more", hint=_NO_BENCH)
    return found[0]


def list_entries(say: Callable[[str], None]) -> tuple[Entry, ...]:
    """What is kept, the newest first.

    Raises:
        StoreError: the file cannot be read, or is of a newer lf.
    """
    return tuple(database.mend(lambda: _read(_list), say))


def peek() -> tuple[str, ...]:
    """The ids, the newest first; none where they cannot be read, and nothing is done about that."""
    with suppress(LfError):
        return tuple(entry.id for entry in database.act(lambda: _read(_list)))
    return ()


def load_figures(ids: Sequence[str], say: Callable[[str], None]) -> tuple[Bench, ...]:
    """Several benches, in this order, without the gaps between pieces: those are most of what there is.

    Raises:
        StoreError: the file cannot be read, or is of a newer lf.
    """
    return tuple(database.mend(lambda: _read(lambda opened: _load(opened, ids, gaps=False)), say))


def is_last(name: str) -> bool:
    """Whether a name says how old a bench is: `last`, `last~1`."""
    return _AGE.fullmatch(name) is not None


def find_entry(name: str, entries: Sequence[Entry]) -> Entry:
    """Which of them, the newest first, is called so.

    Raises:
        UnknownNameError: none is, or several are.
    """
    if is_last(name):
        place = int(name.partition("~")[2] or 0)
        if place < len(entries):
            return entries[place]
        count = f"there {'is' if len(entries) == 1 else 'are'} {len(entries)}" if entries else "none is kept yet"
        raise UnknownNameError(f"There is no bench `{name}`: {count}", hint=_NO_BENCH)
    exact = [one for one in entries if one.id == name]
    near = exact or [one for one in entries if one.id.startswith(name) or one.id.endswith(name)]
    if len(near) == 1:
        return near[0]
    if not near:
        raise UnknownNameError(f"There is no bench `{name}`", hint=_NO_BENCH)
    raise UnknownNameError(
        f"Several benches are called `{name}`", detail="\n".join(one.id for one in near), hint="Type more of the id."
    )


def _read(query: Callable[[sqlite3.Connection], list[Found]]) -> list[Found]:
    """What a query finds; nothing where there is no file, or one from before there were benches."""
    return database.query(query, since=BENCHES_SINCE)


def _list(opened: sqlite3.Connection) -> list[Entry]:
    rows = opened.execute("""
        select id, at from bench join conditions on conditions.bench = bench.number
        where moment = 'before' order by number desc""")
    return [Entry(*row) for row in rows]


def _save(bench: Bench) -> Bench:
    with database.write(database.WAIT_S) as opened:
        while opened.execute("select 1 from bench where id = ?", (bench.id,)).fetchone():
            bench = bench._replace(id=make_id())
        bench_rows.insert(opened, bench)
    return bench


def _load(opened: sqlite3.Connection, ids: Sequence[str], *, gaps: bool = True) -> list[Bench]:
    opened.execute("begin")  # one moment of the file, whatever others write meanwhile
    return [bench for one in ids for bench in _select(opened, one, gaps=gaps)]


def _select(opened: sqlite3.Connection, name: str, *, gaps: bool) -> tuple[Bench, ...]:
    try:
        return bench_rows.select(opened, name, gaps=gaps)
    except (LookupError, TypeError, ValueError) as error:  # somebody else has written into it
        raise StoreError(
            f"The bench `{name}` is kept in part only, and cannot be read",
            detail=f"{paths.measurements_file()}: {type(error).__name__}: {error}",
            hint="Another one can be: `lf bench export ID`. Renamed, the file stays, and lf begins a new one.",
        ) from error
