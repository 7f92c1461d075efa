"""Benches are kept whole in the file of measurements, whatever happens to it; nothing of it is ever dropped."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tests.fixtures.benches import BENCHES, READ, WRITE, make_bench, make_series

from localfirst import paths
from localfirst.bench.values import Conditions, Contender, Load, Sample, Series, Workload
from localfirst.errors import DiskFullError, StoreError, UnknownNameError
from localfirst.services.machines import find_machine
from localfirst.store import results
from localfirst.store.measurements import Measurement, find_key, find_rates, record
from localfirst.store.schema import VERSION
from localfirst.types import Rates

MAC = find_machine("macbook-air-m2-8gb")
RUN = Measurement(find_key(MAC), "starter", "q4_0", "llama-cpu", "1.0", "cpu", 2048, 100, 50, 0.1, 900.0, 50.0)
FIRST_VERSION = (
    """create table if not exists run (
        machine, model, variant, runtime, engine_version, device, context_tokens, prompt_tokens, completion_tokens,
        load_s, prefill_tps, decode_tps, at
    )""",
    "create index if not exists build on run (machine, model, variant, runtime)",
    "pragma user_version = 1",
)
"""As the first version of lf made it."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def refuse(text: str) -> None:
    raise AssertionError(text)


def ask(sql: str) -> list[tuple]:
    with closing(sqlite3.connect(paths.measurements_file())) as opened:
        return opened.execute(sql).fetchall()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(bench=BENCHES)
def test_any_bench_comes_back_as_it_was_kept(bench) -> None:
    kept = results.save(bench, refuse)
    assert kept == bench._replace(id=kept.id)
    assert kept.id == bench.id or re.fullmatch(rf"\d{{8}}-[{results.LETTERS}]{{4}}", kept.id)
    (found,) = results.load_figures([kept.id], refuse)
    assert found == kept._replace(
        series=tuple(
            one._replace(samples=tuple(sample._replace(gaps_s=()) for sample in one.samples)) for one in kept.series
        )
    )
    if len(kept.id) == len("20261128-bcdf"):  # others, such as `0`, may be the end of several
        assert repr(results.load(kept.id, refuse)) == repr(kept)


def test_every_value_has_a_column() -> None:
    results.save(make_bench(), refuse)
    columns = {
        table: {row[1] for row in ask(f"pragma table_info({table})")}
        for table in ("contender", "workload", "sample", "series", "conditions", "bench")
    }
    assert columns["contender"] == {*Contender._fields, "number"}
    assert columns["workload"] == {*Workload._fields, "number", "name"}
    assert columns["sample"] == {*Sample._fields, "number", "series", "position"} - {"first_token_s", "gaps_s"}
    assert columns["series"] >= {*Series._fields, *Load._fields} - {"samples", "load", "marks"}
    assert columns["conditions"] == {*Conditions._fields, "bench", "moment"}


def test_what_is_alike_is_kept_once() -> None:
    for _ in range(3):
        results.save(make_bench(), refuse)
    assert ask("select count(*) from contender") == [(1,)]
    assert ask("select name from workload") == [("pp512",), ("tg128",)]
    assert ask("select count(*), count(distinct bench) from measured") == [(18, 3)]


def test_a_bench_is_found_by_its_id_a_part_of_it_or_its_age() -> None:
    ids = ("20261127-bcdf", "20261128-bcdf", "20261128-kmnp")
    for one in ids:
        results.save(make_bench(id=one), refuse)
    assert [entry.id for entry in results.list_entries(refuse)] == list(reversed(ids))
    found = {word: results.load(word, refuse).id for word in ("last", "last~1", "20261127", "kmnp", ids[1])}
    assert found == {"last": ids[2], "last~1": ids[1], "20261127": ids[0], "kmnp": ids[2], ids[1]: ids[1]}
    for word, said in (("bcdf", "Several"), ("last~3", "there are 3"), ("2025", "no bench"), ("last~x", "no bench")):
        with pytest.raises(UnknownNameError, match=said):
            results.load(word, refuse)


def test_before_the_first_bench_there_is_none_and_no_file_is_made(home: Path) -> None:
    assert results.list_entries(refuse) == ()
    with pytest.raises(UnknownNameError, match="none is kept yet"):
        results.load("last", refuse)
    assert not home.exists()


def test_ordinary_runs_measured_before_stay_when_a_bench_is_kept(home: Path) -> None:
    home.mkdir()
    with closing(sqlite3.connect(paths.measurements_file())) as opened, opened:
        for statement in FIRST_VERSION:
            opened.execute(statement)
        for rate in (40.0, 50.0, 60.0):
            opened.execute(
                "insert into run values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*RUN._replace(decode_tps=rate)[:-3], "2026"),
            )
    assert find_rates(MAC) == {("starter", "q4_0", "llama-cpu"): Rates(50.0, 900.0)}
    assert results.list_entries(refuse) == ()
    before = ask("select rowid, * from run")
    results.save(make_bench(), refuse)
    assert (ask("select rowid, * from run"), ask("pragma user_version")) == (
        [(*row, None, None) for row in before],
        [(VERSION,)],
    )
    record(RUN)
    assert len(ask("select * from run")) == 4
    assert find_rates(MAC) == {("starter", "q4_0", "llama-cpu"): Rates(50.0, 900.0)}


def test_an_ordinary_run_makes_a_file_of_this_version_and_keeps_the_benches() -> None:
    record(RUN)
    results.save(make_bench(), refuse)
    record(RUN)
    assert len(results.list_entries(refuse)) == 1
    assert ask("select count(*) from run") == [(2,)]


def test_a_name_that_is_no_text_costs_no_bench() -> None:
    kept = results.save(make_bench(make_series(model="caf\udce9.gguf"), arguments=("caf\udce9.gguf",)), refuse)
    found = results.load(kept.id, refuse)
    assert (found.series[0].contender.model, found.arguments) == ("caf?.gguf", ("caf\udce9.gguf",))


def spoil_head(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [spoil_head, spoil_middle])
@pytest.mark.parametrize("first", ["save", "list"])
def test_a_damaged_file_is_put_aside_and_said_once(home: Path, spoil, first: str) -> None:
    results.save(make_bench(), refuse)
    spoil(paths.measurements_file())
    before = paths.measurements_file().read_bytes()
    said: list[str] = []
    if first == "list":
        assert results.list_entries(said.append) == ()
    kept = results.save(make_bench(), said.append)
    assert results.load("last", refuse) == kept
    (aside,) = home.glob("*.damaged-*")
    assert aside.read_bytes() == before
    assert len(said) == 1
    assert str(aside) in said[0]


def test_a_second_damaged_file_of_the_same_second_gets_a_name_of_its_own(home: Path) -> None:
    home.mkdir()
    contents = {bytes([number]) * 2000 for number in range(1, 4)}
    for data in contents:
        paths.measurements_file().write_bytes(data)
        results.save(make_bench(), lambda _: None)
    assert {path.read_bytes() for path in home.glob("*.damaged-*")} == contents


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("delete from conditions where moment = 'after'", "kept in part only"),
        ("update bench set arguments = 'none'", "kept in part only"),
        ("update bench set arguments = '7'", "kept in part only"),
        ("update series set contender = 999", "kept in part only"),
        ("update sample set wall_s = 'x'", "kept in part only"),
        ("update first_token set seconds = 'x'", "kept in part only"),
        ("update series set peak_bytes = 'x'", "kept in part only"),
        ("drop table sample", "not as lf made it"),
        ("alter table mark rename column words to letters", "not as lf made it"),
    ],
)
def test_what_others_changed_in_the_file_is_said_and_stays(home: Path, spoil: str, said: str) -> None:
    kept = results.save(make_bench(), refuse)
    with closing(sqlite3.connect(paths.measurements_file())) as opened:
        opened.execute(spoil)
        opened.commit()
    for read in (lambda: results.load(kept.id, refuse), lambda: results.load_figures([kept.id], refuse)):
        with pytest.raises(StoreError, match=said) as caught:
            read()
        assert caught.value.hint
    assert [path.name for path in home.iterdir() if "damaged" in path.name] == []


def test_a_file_of_a_newer_lf_is_left_alone(home: Path) -> None:
    results.save(make_bench(), refuse)
    with closing(sqlite3.connect(paths.measurements_file())) as opened, opened:
        opened.execute(f"pragma user_version = {VERSION + 1}")
    before = paths.measurements_file().read_bytes()
    for action in (lambda: results.save(make_bench(), refuse), lambda: results.list_entries(refuse)):
        with pytest.raises(StoreError, match="newer lf") as error:
            action()
        assert error.value.hint == "Update lf, or set LF_HOME to another folder."
    record(RUN)
    assert find_rates(MAC) == {}
    assert paths.measurements_file().read_bytes() == before


def test_a_folder_in_the_way_is_said(home: Path) -> None:
    paths.measurements_file().mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be used"):
        results.save(make_bench(), refuse)


def test_a_file_in_the_way_of_the_folder_is_said(home: Path) -> None:
    home.write_text("a file in the way")
    with pytest.raises(StoreError, match="cannot be used"):
        results.save(make_bench(), refuse)


def test_who_waits_too_long_for_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    results.save(make_bench(), refuse)
    monkeypatch.setattr("localfirst.store.database.WAIT_S", 0.0)
    with closing(sqlite3.connect(paths.measurements_file(), isolation_level=None)) as opened:
        opened.execute("begin immediate")
        with pytest.raises(StoreError, match="another process"):
            results.save(make_bench(), refuse)
        assert len(results.list_entries(refuse)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a file size limit stands in for a full disk")
def test_a_full_disk_is_said_and_what_was_kept_stays() -> None:
    results.save(make_bench(), refuse)
    code = """
import resource
from tests.fixtures.benches import make_bench, make_series, WRITE
from localfirst.store import results
from localfirst import paths
size = paths.measurements_file().stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096))
results.save(make_bench(*[make_series(WRITE, tuple(range(1, 500)))] * 10), print)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode != 0
    assert "localfirst.errors." in done.stderr.splitlines()[-1]
    assert [entry.id for entry in results.list_entries(refuse)] == ["20261128-bcdf"]
    assert ask("pragma integrity_check") == [("ok",)]


def test_a_full_database_is_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    results.save(make_bench(), refuse)
    from localfirst.store import database

    connect = database._connect

    def connect_to_a_small_disk(*words):
        opened = connect(*words)
        opened.execute(f"pragma max_page_count = {opened.execute('pragma page_count').fetchone()[0]}")
        return opened

    monkeypatch.setattr(database, "_connect", connect_to_a_small_disk)
    with pytest.raises(DiskFullError):
        results.save(make_bench(*[make_series(WRITE, tuple(map(float, range(1, 200))))] * 5), refuse)
    monkeypatch.undo()


def test_processes_that_keep_benches_at_once_lose_none() -> None:
    code = """
from tests.fixtures.benches import make_bench
from localfirst.store import results
from localfirst.store.measurements import record
from tests.contract.store.test_store_results import RUN
for _ in range(10):
    results.save(make_bench(), print)
    record(RUN)
"""
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)]
    assert [(child.communicate()[0], child.returncode) for child in children] == [(b"", 0)] * 3
    assert len({entry.id for entry in results.list_entries(refuse)}) == 30
    assert [series.workload for series in results.load("last", refuse).series] == [READ, WRITE]


def test_two_processes_that_find_it_damaged_put_it_aside_once(home: Path) -> None:
    home.mkdir()
    spoil_head(paths.measurements_file())
    code = """
from tests.fixtures.benches import make_bench
from localfirst.store import results
results.save(make_bench(), print)
"""
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum(map(bool, said)) == 1
    assert len(list(home.glob("*.damaged-*"))) == 1
    assert len(results.list_entries(refuse)) == 3


PAGE = (Path(__file__).parents[3] / "docs/bench.md").read_text(encoding="utf-8")


def test_the_page_names_every_column_of_every_table() -> None:
    results.save(make_bench(), refuse)
    written = {
        name: set(re.findall(r"`(\w+)`", columns))
        for name, columns in re.findall(r"^\| `(\w+)` \|[^|]+\|(.+)\|$", PAGE, re.MULTILINE)
    }
    tables = {name for (name,) in ask("select name from sqlite_master where type = 'table'")}
    assert set(written) == tables
    for table in tables:
        columns = {row[1] for row in ask(f"pragma table_info({table})")}
        assert columns <= written[table], table
    view = {row[1] for row in ask("pragma table_info(measured)")}
    (said,) = re.findall(r"^The view `measured`(.+?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert view == set(re.findall(r"`(\w+)`", said))


def test_the_questions_of_the_page_have_answers() -> None:
    results.save(make_bench(), refuse)
    results.save(make_bench(make_series(marks=("busy",), rates=(1.0, 1.0))), refuse)
    rates, gaps = re.findall(r"```sql\n(.+?)```", PAGE, re.DOTALL)
    assert ask(rates) == [("llama-cpu", "2026.10", "starter", "tg128", 3, 100.0)]
    ((model, workload, count, low, high),) = ask(gaps)
    assert (model, workload, count, low, high) == ("starter", "tg128", 8, 1.0, 1.0)
