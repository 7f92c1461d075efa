"""Measured speeds are kept by build and machine, and nothing depends on their file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from localfirst import paths
from localfirst.services.machines import find_machine
from localfirst.store.measurements import KEPT, LATEST, MIN_TOKENS, Measurement, find_key, find_rates, record
from localfirst.types import Rates

MAC, PI = find_machine("macbook-air-m2-8gb"), find_machine("raspberry-pi-5-8gb")
NAMES = ("starter", "q4_0", "llama-cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def measure(decode_tps: float, **changes: object) -> Measurement:
    made = Measurement(find_key(MAC), *NAMES, "1.0", "cpu", 2048, 10, MIN_TOKENS, 0.1, 900.0, decode_tps)
    return made._replace(**changes)  # type: ignore[arg-type]


def test_the_median_of_the_latest_runs_counts() -> None:
    assert find_rates(MAC) == {}
    for rate in (1.0, *[5.0] * (LATEST // 2), 7.0, *[100.0] * (LATEST // 2)):
        record(measure(rate))
    record(measure(40.0, variant="int4"))
    assert find_rates(MAC) == {NAMES: Rates(7.0), ("starter", "int4", "llama-cpu"): Rates(40.0)}


def test_only_a_long_prompt_says_how_fast_prompts_are_read() -> None:
    for prompt_tokens, prefill_tps in ((500, 300.0), (12, 9.0), (64, 100.0), (800, 320.0)):
        record(measure(5.0, prompt_tokens=prompt_tokens, prefill_tps=prefill_tps))
    assert find_rates(MAC) == {NAMES: Rates(5.0, 300.0)}


def test_what_a_token_reads_is_kept_with_a_speed() -> None:
    record(measure(5.0))
    record(measure(5.0, bytes_per_token=300_000_000))
    assert find_rates(MAC) == {NAMES: Rates(5.0, None, 300_000_000)}


def test_a_file_of_the_first_version_is_read_as_it_is() -> None:
    record(measure(5.0, bytes_per_token=300_000_000))
    with sqlite3.connect(paths.measurements_file()) as database:
        database.execute("alter table run drop column bytes_per_token")
        database.execute("pragma user_version = 1")
    assert find_rates(MAC) == {NAMES: Rates(5.0)}


def test_the_file_keeps_the_latest_runs_of_each_build() -> None:
    record(measure(1.0, variant="int4"))
    for rate in range(1, KEPT + 4):
        record(measure(float(rate)))
    with sqlite3.connect(paths.measurements_file()) as database:
        counts = dict(database.execute("select variant, count(*) from run group by variant"))
        oldest = database.execute("select min(decode_tps) from run where variant = 'q4_0'").fetchone()
    assert (counts, oldest) == ({"int4": 1, "q4_0": KEPT}, (4.0,))


def test_another_machine_and_short_answers_do_not_count() -> None:
    record(measure(30.0))
    record(measure(1.0, completion_tokens=MIN_TOKENS - 1))
    assert (find_rates(MAC), find_rates(PI)) == ({NAMES: Rates(30.0)}, {})
    assert find_key(MAC) == find_key(MAC._replace(disk_free_bytes=1, memory=MAC.memory._replace(available_bytes=1)))


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
    assert find_rates(MAC) == {}
    assert (paths.measurements_file().is_file() and paths.measurements_file().read_bytes()) == before


def test_a_folder_that_cannot_be_written_keeps_nothing(home: Path) -> None:
    home.write_text("a file in the way")
    record(measure(5.0))
    assert find_rates(MAC) == {}
