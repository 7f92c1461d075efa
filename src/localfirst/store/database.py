"""The one SQLite file with all that was measured on this machine: what ordinary runs saw, and whole benches.

A file of an earlier version is brought to this one in place, when something is written; one of a later version is left
alone. A damaged one is put aside under another name by who asks for it, never dropped.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from localfirst import lock, paths
from localfirst.errors import DiskFullError, LfError, StoreError
from localfirst.store.disk import is_full
from localfirst.store.schema import STEPS, VERSION

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

Found = TypeVar("Found")
WAIT_S = 10.0
"""For another process that writes; each does for a few milliseconds."""
_DAMAGED, _BUSY, _FULL, _STRANGE = {11, 26}, {5, 6}, 13, 1
"""SQLITE_CORRUPT and SQLITE_NOTADB; SQLITE_BUSY and SQLITE_LOCKED; SQLITE_FULL; SQLITE_ERROR, of a missing table.

Source: SQLite, "Result and Error Codes". Python's names for them need the module, which a machine without
measurements never loads.
"""
_ELSEWHERE = "Make it writable, or set LF_HOME to a folder that is."


class DamagedError(StoreError):
    """The file is no SQLite database, or a broken one."""


@contextmanager
def read(wait_s: float) -> Iterator[tuple[sqlite3.Connection, int]]:
    """The file and its version (0: it is empty), to read from. Nothing is made where it does not exist.

    Raises:
        FileNotFoundError: there is none.
        sqlite3.Error: it cannot be read.
    """
    if not paths.measurements_file().exists():
        raise FileNotFoundError(paths.measurements_file())
    with closing(_connect("rw", wait_s)) as database:  # what a killed process left half done has to be undone first
        yield database, find_version(database)


@contextmanager
def write(wait_s: float) -> Iterator[sqlite3.Connection]:
    """The file, made and brought to this version if need be, to write to: all of it or, if anything fails, nothing.

    Raises:
        OSError: its folder cannot be made.
        sqlite3.Error: it cannot be written.
        StoreError: it is of a later version.
    """
    import sqlite3

    paths.measurements_file().parent.mkdir(parents=True, exist_ok=True)
    with closing(_connect("rwc", wait_s)) as database:
        database.execute("begin immediate")
        try:
            _upgrade(database)
            yield database
            database.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):  # which a full disk has rolled back already
                database.execute("rollback")
            raise


def find_version(database: sqlite3.Connection) -> int:
    """The version of a file's tables; 0 where it has none."""
    return int(database.execute("pragma user_version").fetchone()[0])


def refuse_later(version: int) -> None:
    """Leave what a newer `lf` wrote alone.

    Raises:
        StoreError: it is of a later version than this `lf` knows.
    """
    if version > VERSION:
        raise StoreError(
            "The file of measurements was written by a newer lf, and is left alone",
            detail=f"{paths.measurements_file()}: version {version}, this lf knows up to {VERSION}",
            hint="Update lf, or set LF_HOME to another folder.",
        )


@contextmanager
def explained() -> Iterator[None]:
    """Turn what SQLite and the system say into errors of ours.

    Raises:
        DamagedError: the file is damaged.
        DiskFullError: no space is left.
        StoreError: it cannot be used for another reason.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error) from error
    except OSError as error:
        if is_full(error):
            raise _say_full() from error
        raise StoreError(
            f"The file of measurements cannot be used: {error.strerror or error}",
            detail=str(error.filename or paths.measurements_file()),
            hint=_ELSEWHERE,
        ) from error


def mend(action: Callable[[], Found], say: Callable[[str], None]) -> Found:
    """Do it; where the file is damaged, put it aside, say so, and do it anew.

    Raises:
        DiskFullError, StoreError: as `explained`.
    """
    try:
        return act(action)
    except DamagedError as error:
        with explained():
            aside = set_aside()
        if aside is not None:
            say(f"{error.message}; it is now {aside}, and a new one is begun")
        return act(action)


def act(action: Callable[[], Found]) -> Found:
    """Do it, with errors of ours.

    Raises:
        DamagedError, DiskFullError, StoreError: as `explained`.
    """
    with explained():
        return action()


def query(find: Callable[[sqlite3.Connection], list[Found]], *, since: int) -> list[Found]:
    """What is found of tables that there are `since` a version; nothing where there is no file, or an earlier one.

    Raises:
        sqlite3.Error: the file cannot be read.
        StoreError: it is of a later version.
    """
    try:
        with read(WAIT_S) as (opened, version):
            refuse_later(version)
            return find(opened) if version >= since else []
    except FileNotFoundError:
        return []


def set_aside() -> Path | None:
    """Put a damaged file under another name; `None` where another process has done so meanwhile.

    Raises:
        OSError: it cannot be renamed.
        sqlite3.Error: it cannot be looked at.
    """
    path = paths.measurements_file()
    with lock.hold(path.with_name(f"{path.name}.lock"), lambda _: None):
        if not _is_damaged():
            return None
        stem = f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        aside = next(name for name in _count_names(path, stem) if not name.exists())
        for suffix in ("-journal", "-wal", "-shm"):  # they belong to this file, and would be taken for the next one's
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
        return aside


def _count_names(path: Path, stem: str) -> Iterator[Path]:
    yield path.with_name(stem + path.suffix)
    for number in range(2, 10**6):
        yield path.with_name(f"{stem}-{number}{path.suffix}")


def _is_damaged() -> bool:
    import sqlite3

    try:
        with read(WAIT_S) as (database, _):
            return bool(database.execute("pragma integrity_check(1)").fetchone()[0] != "ok")
    except FileNotFoundError:
        return False
    except sqlite3.Error as error:
        if _find_code(error) in _DAMAGED:
            return True
        raise


def _connect(mode: str, wait_s: float) -> sqlite3.Connection:
    """Open the file; each statement is its own transaction unless one is begun. `rw` makes none.

    Source: SQLite, "URI Filenames"; a file that is write-protected is opened to read.
    """
    import sqlite3

    address = f"{paths.measurements_file().absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, timeout=wait_s, isolation_level=None, uri=True)


def _upgrade(database: sqlite3.Connection) -> None:
    version = find_version(database)
    refuse_later(version)
    for statements in STEPS[version:]:
        for statement in statements:
            database.execute(statement)
    if version != VERSION:
        database.execute(f"pragma user_version = {VERSION}")


def _find_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, without what an extended one adds."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _explain(error: sqlite3.Error) -> LfError:
    code = _find_code(error)
    if code in _DAMAGED:
        return DamagedError(
            "The file of measurements is damaged",
            detail=f"{paths.measurements_file()}: {error}",
            hint="`sqlite3 FILE .recover` may save what is in it; lf begins a new one where there is none.",
        )
    if code == _FULL:
        return _say_full()
    if code == _STRANGE:
        return StoreError(
            "The file of measurements is not as lf made it",
            detail=f"{paths.measurements_file()}: {error}",
            hint="Rename it: lf begins a new one where there is none.",
        )
    busy = code in _BUSY
    return StoreError(
        "The file of measurements is in use by another process" if busy else "The file of measurements cannot be used",
        detail=f"{paths.measurements_file()}: {error}",
        hint="Run it again once that process has ended." if busy else _ELSEWHERE,
    )


def _say_full() -> DiskFullError:
    return DiskFullError(
        "The disk is full",
        detail=str(paths.measurements_file()),
        hint="Free some space: `lf store gc`, `lf rm`.",
    )
