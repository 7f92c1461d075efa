"""Speeds that ordinary runs saw on this machine, in the table `run` of one SQLite file. No text of anybody is in it.

Nobody waits for it and nothing fails because of it: a file that cannot be read has no measurements, and one that cannot
be written gets none.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from localfirst import paths
from localfirst.errors import StoreError
from localfirst.store import database
from localfirst.store.schema import VERSION
from localfirst.types import Rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localfirst.types import Machine

MIN_TOKENS = 16
"""Fewer say little: the first of them include what happens only once."""
MIN_PROMPT_TOKENS = 64
"""A shorter prompt says nothing of the speed at which one is read."""
LATEST = 9
"""How many of the latest runs count; their median is the speed."""
KEPT = 200
"""How many of the latest runs of a build on a machine are kept, so that the file stays small."""
BUSY_S = 1.0
MEMORY = ("(memory)", "read", "(memory)")
"""Model, variant and runtime of what is no run: how often a second all cores together read `MEMORY_BYTES` of memory."""
MEMORY_BYTES = 10**9
SINCE = {"bytes_per_token": 2, "layers": 3}
"""The version of the file from which on a column is there."""


class Measurement(NamedTuple):
    """One answer of one build. `machine` is `find_key`'s; rates are tokens per second; `at` is UTC, ISO 8601.

    `prompt_tokens` are those that were computed, not found in the cache.
    """

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
    bytes_per_token: int | None = None
    """Of the model, that a token reads."""
    layers: int | None = None
    """Of the model, that a token passes."""
    at: str = ""


_SELECT_LATEST = """
    select model, variant, runtime, decode_tps, prompt_tokens, prefill_tps, {}, {} from (
        select *, row_number() over (partition by model, variant, runtime order by rowid desc) as age
        from run where machine = ?
    ) where age <= ?"""
_DELETE_OLD = """
    delete from run where rowid in (
        select rowid from run where machine = ? and model = ? and variant = ? and runtime = ?
        order by rowid desc limit -1 offset ?
    )"""


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

    row = (*measurement[:-1], datetime.now(UTC).isoformat(timespec="seconds"))
    with suppress(sqlite3.Error, OSError, StoreError), database.write(BUSY_S) as opened:
        columns, marks = ", ".join(Measurement._fields), ", ".join("?" * len(row))
        opened.execute(f"insert into run ({columns}) values ({marks})", row)  # noqa: S608 - names of ours, question marks
        opened.execute(_DELETE_OLD, (*row[:4], KEPT))


def record_bandwidth(machine: Machine, bytes_per_s: int) -> None:
    """Keep how fast the processor reads main memory."""
    record(
        Measurement(
            machine=find_key(machine),
            model=MEMORY[0],
            variant=MEMORY[1],
            runtime=MEMORY[2],
            engine_version="",
            device="CPU",
            context_tokens=0,
            prompt_tokens=0,
            completion_tokens=MIN_TOKENS,
            load_s=None,
            prefill_tps=None,
            decode_tps=bytes_per_s / MEMORY_BYTES,
            bytes_per_token=MEMORY_BYTES,
        )
    )


def with_bandwidth(machine: Machine, rates: Mapping[tuple[str, str, str], Rates]) -> Machine:
    """The machine, and how fast its memory was measured to be; unchanged where nobody measured it."""
    if (read := rates.get(MEMORY)) is None:
        return machine
    return machine._replace(memory=machine.memory._replace(bandwidth_bytes_per_s=int(read.decode_tps * MEMORY_BYTES)))


def find_rates(machine: Machine) -> Mapping[tuple[str, str, str], Rates]:
    """What runs on a machine reached, by (model, variant, runtime) name."""
    if not paths.measurements_file().exists():
        return {}
    import sqlite3

    found: dict[tuple[str, str, str], list[_Run]] = {}
    with suppress(sqlite3.Error, OSError), database.read(BUSY_S) as (opened, version):
        if 0 < version <= VERSION:
            asked = _SELECT_LATEST.format(*(name if version >= since else "null" for name, since in SINCE.items()))
            for model, variant, runtime, *run in opened.execute(asked, (find_key(machine), LATEST)):
                found.setdefault((model, variant, runtime), []).append(_Run(*run))
    return {names: _find_medians(runs) for names, runs in found.items()}


class _Run(NamedTuple):
    decode_tps: float
    prompt_tokens: int
    prefill_tps: float | None
    bytes_per_token: int | None
    layers: int | None


def _find_medians(runs: Sequence[_Run]) -> Rates:
    """What runs of one build reached, the latest first."""
    from statistics import median  # noqa: PLC0415 - 3 ms that a machine without measurements never pays

    prefills = [
        one.prefill_tps for one in runs if one.prefill_tps is not None and one.prompt_tokens >= MIN_PROMPT_TOKENS
    ]
    read, layers = (next(filter(None, known), None) for known in zip(*(one[3:] for one in runs), strict=True))
    return Rates(median(one.decode_tps for one in runs), median(prefills) if prefills else None, read, layers)
