"""Speeds that were measured on this machine, in one SQLite file: what ordinary runs saw. No text of anybody is in it.

Nobody waits for it and nothing fails because of it: a file that cannot be read has no measurements, and one that cannot
be written gets none.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from localfirst import paths

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from localfirst.types import Machine

VERSION = 1
"""Of the table, kept in the file's `user_version`; a file of another version is left alone."""
MIN_TOKENS = 16
"""Fewer say little: the first of them include what happens only once."""
LATEST = 9
"""How many of the latest runs count; their median is the speed."""
BUSY_S = 1.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One answer of one build. `machine` is `find_key`'s; rates are tokens per second; `at` is UTC, ISO 8601."""

    machine: str
    model: str
    variant: str
    runtime: str
    engine_version: str
    device: str
    context_tokens: int
    prompt_tokens: int
    completion_tokens: int
    load_s: float | None
    prefill_tps: float | None
    decode_tps: float
    at: str = ""


_COLUMNS = [field.name for field in fields(Measurement)]


def find_key(machine: Machine) -> str:
    """What makes two machines the same for a speed: processor, memory size, devices with their drivers."""
    devices = [(device.kind, device.name, device.memory_total_bytes, device.driver) for device in machine.devices]
    facts = (machine.platform, machine.cpu.arch, machine.cpu.name, machine.memory.total_bytes, devices)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def record(measurement: Measurement) -> None:
    """Keep a measurement that is long enough to say something."""
    if measurement.completion_tokens < MIN_TOKENS:
        return
    import sqlite3

    row = (*astuple(measurement)[:-1], datetime.now(UTC).isoformat(timespec="seconds"))
    with suppress(sqlite3.Error, OSError):
        paths.measurements_file().parent.mkdir(parents=True, exist_ok=True)
        with closing(_open()) as database, database:
            if _find_version(database) == 0:
                database.execute(f"create table if not exists run ({', '.join(_COLUMNS)})")
                database.execute(f"pragma user_version = {VERSION}")
            if _find_version(database) == VERSION:
                marks = ", ".join("?" * len(row))
                database.execute(f"insert into run values ({marks})", row)  # noqa: S608 - question marks only


def find_decode_tps(machine: Machine) -> Mapping[tuple[str, str, str], float]:
    """Measured tokens per second on a machine by (model, variant, runtime) name."""
    if not paths.measurements_file().exists():
        return {}
    import sqlite3

    found: dict[tuple[str, str, str], list[float]] = {}
    with suppress(sqlite3.Error, OSError), closing(_open()) as database:
        if _find_version(database) == VERSION:
            query = "select model, variant, runtime, decode_tps from run where machine = ? order by rowid desc"
            for model, variant, runtime, decode_tps in database.execute(query, (find_key(machine),)):
                found.setdefault((model, variant, runtime), []).append(float(decode_tps))
    return {names: median(rates[:LATEST]) for names, rates in found.items()}


def _open() -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(paths.measurements_file(), timeout=BUSY_S)


def _find_version(database: sqlite3.Connection) -> int:
    return int(database.execute("pragma user_version").fetchone()[0])
