"""Measured speeds are kept by build and machine, and nothing depends on their file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from localfirst import paths
from localfirst.services.machines import find_machine
from localfirst.store.measurements import LATEST, MIN_TOKENS, Measurement, find_decode_tps, find_key, record

MAC, PI = find_machine("macbook-air-m2-8gb"), find_machine("raspberry-pi-5-8gb")
NAMES = ("starter", "q4_0", "llama-cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def measure(decode_tps: float, **changes: object) -> Measurement:
    made = Measurement(find_key(MAC), *NAMES, "1.0", "cpu", 2048, 10, MIN_TOKENS, 0.1, 900.0, decode_tps)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_median_of_the_latest_runs_counts() -> None:
    assert find_decode_tps(MAC) == {}
    for rate in (1.0, *[5.0] * (LATEST // 2), 7.0, *[100.0] * (LATEST // 2)):
        record(measure(rate))
    record(measure(40.0, variant="int4"))
    assert find_decode_tps(MAC) == {NAMES: 7.0, ("starter", "int4", "llama-cpu"): 40.0}


def test_another_machine_and_short_answers_do_not_count() -> None:
    record(measure(30.0))
    record(measure(1.0, completion_tokens=MIN_TOKENS - 1))
    assert (find_decode_tps(MAC), find_decode_tps(PI)) == ({NAMES: 30.0}, {})
    assert find_key(MAC) == find_key(replace(MAC, disk_free_bytes=1, memory=replace(MAC.memory, available_bytes=1)))


def spoil(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0 and then nothing of the kind" * 50)


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("pragma user_version = 99")


@pytest.mark.parametrize(
    "damage", [spoil, make_newer, Path.mkdir], ids=["not a database", "of a later version", "a folder"]
)
def test_a_file_that_cannot_be_used_is_left_alone(home: Path, damage: object) -> None:
    home.mkdir()
    damage(paths.measurements_file())  # type: ignore[operator]
    before = paths.measurements_file().is_file() and paths.measurements_file().read_bytes()
    record(measure(5.0))
    assert find_decode_tps(MAC) == {}
    assert (paths.measurements_file().is_file() and paths.measurements_file().read_bytes()) == before


def test_a_folder_that_cannot_be_written_keeps_nothing(home: Path) -> None:
    home.write_text("a file in the way")
    record(measure(5.0))
    assert find_decode_tps(MAC) == {}
