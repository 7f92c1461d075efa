"""What `lf bench --quality` found is kept whole, and found again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures.benches import CONTENDERS, LISTS, STARTER, WORDS, make_bench

from localfirst import paths
from localfirst.bench.quality import Comparison, Mean, Quality, Report, Row
from localfirst.errors import StoreError
from localfirst.store import qualities, results
from localfirst.store.schema import STEPS, VERSION

FIGURES = st.floats(-1e6, 1e6)
MEANS = st.builds(Mean, FIGURES, st.none() | FIGURES)
COUNTS = st.integers(0, 2**31)
ROWS = st.builds(
    Row,
    CONTENDERS,
    st.builds(Quality, COUNTS, MEANS),
    st.none() | st.builds(Comparison, MEANS, st.none() | MEANS, st.none() | MEANS, st.none() | FIGURES),
    st.booleans(),
    st.booleans(),
)
REPORTS = st.builds(
    Report,
    **dict.fromkeys(("at", "machine", "machine_name", "system", "lf_version", "text", "text_sha256"), WORDS),
    arguments=LISTS,
    whole=st.booleans(),
    rows=st.lists(ROWS, max_size=3).map(tuple),
    failures=LISTS,
    complete=st.booleans(),
)

REPORT = Report(
    at="2026-11-28T12:00:00+00:00",
    machine="0123456789abcdef",
    machine_name="a processor, 2 cores, 16.0 GB",
    system="Linux 6.1",
    lf_version="0.1.0",
    arguments=("bench", "starter", "--quality"),
    text="mine.txt",
    text_sha256="ab" * 32,
    whole=True,
    rows=(Row(STARTER, Quality(511, Mean(2.0, 0.1)), None, is_reference=True),),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))


def refuse(text: str) -> None:
    raise AssertionError(text)


def run(*statements: str) -> None:
    with closing(sqlite3.connect(paths.measurements_file())) as opened, opened:
        for statement in statements:
            opened.execute(statement)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(REPORTS)
def test_any_comes_back_as_it_was_kept(report: Report) -> None:
    qualities.save(report, refuse)
    assert qualities.load(refuse)[0] == report


def test_before_the_first_there_is_none_and_no_file_is_made() -> None:
    assert qualities.load(refuse) == ()
    assert not paths.measurements_file().exists()


def test_a_file_of_the_version_before_is_read_and_brought_to_this_one() -> None:
    paths.measurements_file().parent.mkdir()
    run(*(one for step in STEPS[:3] for one in step), "pragma user_version = 3")
    assert qualities.load(refuse) == ()
    assert results.list_entries(refuse) == ()
    results.save(make_bench(), refuse)
    qualities.save(REPORT, refuse)
    assert (len(results.list_entries(refuse)), len(qualities.load(refuse))) == (1, 1)
    with closing(sqlite3.connect(paths.measurements_file())) as opened:
        assert opened.execute("pragma user_version").fetchone() == (VERSION,)


def test_benches_of_the_version_before_are_read_where_nothing_was_written_since() -> None:
    kept = results.save(make_bench(), refuse)
    run("drop table quality_row", "drop table quality_failure", "drop table quality", "pragma user_version = 3")
    assert [one.id for one in results.list_entries(refuse)] == [kept.id]
    assert qualities.load(refuse) == ()


def test_a_damaged_file_is_put_aside_and_said() -> None:
    paths.measurements_file().parent.mkdir()
    paths.measurements_file().write_bytes(b"no database" * 1000)
    said: list[str] = []
    assert qualities.load(said.append) == ()
    assert "is damaged; it is now" in said[0]
    assert len(list(paths.measurements_file().parent.glob("measurements.damaged-*"))) == 1


def test_what_somebody_else_wrote_into_it_is_named() -> None:
    qualities.save(REPORT, refuse)
    run("update quality set arguments = 'none'")
    with pytest.raises(StoreError, match="cannot be read"):
        qualities.load(refuse)
